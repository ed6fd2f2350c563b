/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <stdbool.h>
#include <stdint.h>

#include <zephyr/sys/printk.h>

#include <psa/crypto.h>

#include <rekindle/port.h>

#define POINT_SIZE     65U
#define HASH_SIZE      32U
#define SIGNATURE_SIZE 64U

bool rekindle_verify_p256(const uint8_t point[65], const uint8_t hash[32],
			  const uint8_t signature[64])
{
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
	psa_key_id_t key;
	/* Counts no calls: who has initialised it before is as good. */
	psa_status_t status = psa_crypto_init();

	if (status == PSA_SUCCESS) {
		psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
		psa_set_key_bits(&attributes, 256);
		psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_VERIFY_HASH);
		psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
		status = psa_import_key(&attributes, point, POINT_SIZE, &key);
	}
	if (status != PSA_SUCCESS) {
		/* That is no fault of the image, so it must not look like one. */
		printk("rekindle: PSA takes no key: %d\n", (int)status);
		return false;
	}
	status = psa_verify_hash(key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, HASH_SIZE, signature,
				 SIGNATURE_SIZE);
	if (status != PSA_SUCCESS && status != PSA_ERROR_INVALID_SIGNATURE) {
		printk("rekindle: PSA cannot verify: %d\n", (int)status);
	}
	(void)psa_destroy_key(key);
	return status == PSA_SUCCESS;
}
