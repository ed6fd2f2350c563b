// SPDX-License-Identifier: Apache-2.0

//! The signature check at VERIFY, with the keys that were compiled in.
//!
//! Which arithmetic is a feature of this crate, named as Kconfig's choice `REKINDLE_SIGNATURE`
//! is; the linker holds the two against each other (`modules/rekindle/signature.cmake`).

use mcuboot_image::SignatureKind;
use rekindle_session::receiver::Signed;

use crate::ffi;

/// Asked for by the linker where Kconfig has chosen this check, so that an application whose
/// crate was built without it does not link, instead of checking nothing.
#[cfg(feature = "signature-p256")]
#[unsafe(no_mangle)]
pub(crate) static rekindle_checks_p256: u8 = 1;
#[cfg(feature = "signature-ed25519")]
#[unsafe(no_mangle)]
pub(crate) static rekindle_checks_ed25519: u8 = 1;
#[cfg(feature = "signature-psa")]
#[unsafe(no_mangle)]
pub(crate) static rekindle_checks_psa: u8 = 1;

/// Length of a key's point in bytes.
#[cfg(not(feature = "signature-ed25519"))]
const POINT: usize = 65;
#[cfg(feature = "signature-ed25519")]
const POINT: usize = 32;

/// The kind of signature that these keys make.
#[cfg(not(feature = "signature-ed25519"))]
const KIND: SignatureKind = SignatureKind::EcdsaP256;
#[cfg(feature = "signature-ed25519")]
const KIND: SignatureKind = SignatureKind::Ed25519;

/// The hashes by which images name the keys.
pub(crate) fn names() -> &'static [[u8; 32]] {
    let keys = &ffi::rekindle_keys;
    // SAFETY: the build made `count` names, and they are constant.
    unsafe { core::slice::from_raw_parts(keys.names, keys.count) }
}

/// The points of the keys, in the same order.
fn points() -> &'static [[u8; POINT]] {
    let keys = &ffi::rekindle_keys;
    // SAFETY: the build made `count` points of this length, for it chose the algorithm, and they
    // are constant; an array of bytes is aligned anywhere.
    unsafe { core::slice::from_raw_parts(keys.points.cast(), keys.count) }
}

/// Whether the key has made this signature.
#[inline(never)]
pub(crate) fn check(signed: &Signed<'_>) -> bool {
    signed.kind == KIND && points().get(signed.key).is_some_and(|point| verify(point, signed))
}

#[cfg(any(feature = "signature-p256", feature = "signature-ed25519"))]
fn verify(point: &[u8; POINT], signed: &Signed<'_>) -> bool {
    use mcuboot_image::key::PublicKey;
    #[cfg(feature = "signature-p256")]
    let key = PublicKey::p256(point);
    #[cfg(feature = "signature-ed25519")]
    let key = PublicKey::ed25519(point);
    key.is_ok_and(|key| key.verify(signed.image_hash, signed.signature).is_ok())
}

#[cfg(feature = "signature-psa")]
fn verify(point: &[u8; POINT], signed: &Signed<'_>) -> bool {
    let Some(signature) = mcuboot_image::der::ecdsa_p256_raw(signed.signature) else { return false };
    // SAFETY: all three are valid for the call, of the lengths that the shim reads, and it
    // keeps no pointer.
    unsafe { ffi::rekindle_verify_p256(point, signed.image_hash, &raw const signature) }
}

#[cfg(any(
    all(feature = "signature-p256", feature = "signature-ed25519"),
    all(feature = "signature-p256", feature = "signature-psa"),
    all(feature = "signature-ed25519", feature = "signature-psa"),
))]
compile_error!("at most one of the features signature-p256, signature-ed25519 and signature-psa");
