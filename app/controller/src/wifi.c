/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * Joins the Wi-Fi network that was told at the console (`wifi cred add`), and joins it again when it is lost.
 */

#include <errno.h>

#include <zephyr/init.h>
#include <zephyr/kernel.h>
#include <zephyr/net/net_if.h>
#include <zephyr/net/net_mgmt.h>
#include <zephyr/net/wifi_mgmt.h>

#define LOOK_S 30

static void join(struct k_work *work);

static K_WORK_DELAYABLE_DEFINE(joining, join);

static void join(struct k_work *work)
{
	struct net_if *interface = net_if_get_first_wifi();

	ARG_UNUSED(work);
	/* Dormant is what has no network. A failure, no network being known above all, is looked at again later. */
	if (interface != NULL && net_if_is_dormant(interface)) {
		(void)net_mgmt(NET_REQUEST_WIFI_CONNECT_STORED, interface, NULL, 0);
	}
	(void)k_work_reschedule(&joining, K_SECONDS(LOOK_S));
}

static int begin(void)
{
	return k_work_reschedule(&joining, K_SECONDS(1)) < 0 ? -EIO : 0;
}

SYS_INIT(begin, APPLICATION, CONFIG_APPLICATION_INIT_PRIORITY);
