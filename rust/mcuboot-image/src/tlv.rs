// SPDX-License-Identifier: Apache-2.0
//! Numbers of the type-length-value records after the body (MCUboot design.md, "Image format").

/// First half-word of the unprotected area.
pub const AREA_MAGIC: u16 = 0x6907;
/// First half-word of the protected area.
pub const PROTECTED_MAGIC: u16 = 0x6908;
/// Length of an area's head (magic, total length) and of a record's head (type, length), in bytes.
pub const HEAD_SIZE: u32 = 4;

/// SHA-256 of the public key that made the signature which follows.
pub const KEY_HASH: u16 = 0x01;
/// The public key itself.
pub const PUBLIC_KEY: u16 = 0x02;
/// SHA-256 over header, body and protected area.
pub const SHA256: u16 = 0x10;
/// SHA-384 over the same.
pub const SHA384: u16 = 0x11;
/// SHA-512 over the same.
pub const SHA512: u16 = 0x12;
/// RSA-2048-PSS signature.
pub const RSA2048: u16 = 0x20;
/// ECDSA signature, DER; P-256 where the hash is SHA-256.
pub const ECDSA: u16 = 0x22;
/// RSA-3072-PSS signature.
pub const RSA3072: u16 = 0x23;
/// Ed25519 signature over the hash.
pub const ED25519: u16 = 0x24;
/// Says that the signature covers the image and not its hash.
pub const PURE: u16 = 0x25;
/// Needs another image, at a version or later; may repeat.
pub const DEPENDENCY: u16 = 0x40;
/// Security counter for roll-back protection in hardware.
pub const SECURITY_COUNTER: u16 = 0x50;
/// Boot record for attestation.
pub const BOOT_RECORD: u16 = 0x60;
/// UUID of the vendor.
pub const VENDOR: u16 = 0x74;
/// UUID of the device class.
pub const CLASS: u16 = 0x75;

/// Exact length of the records that have one, in bytes.
pub(crate) const fn fixed_len(kind: u16) -> Option<u16> {
    match kind {
        KEY_HASH | SHA256 => Some(32),
        ED25519 => Some(64),
        DEPENDENCY => Some(12),
        SECURITY_COUNTER => Some(4),
        VENDOR | CLASS => Some(16),
        _ => None,
    }
}

/// Records that only count outside of the protected area: hashes, keys and signatures.
pub(crate) const fn unprotected_only(kind: u16) -> bool {
    matches!(kind, KEY_HASH | PUBLIC_KEY | SHA256..=PURE)
}

/// Records that only count inside the protected area, because a decision hangs on them.
pub(crate) const fn protected_only(kind: u16) -> bool {
    matches!(kind, DEPENDENCY..=CLASS)
}

/// Records MCUboot allows outside of the protected area when built with its allow list, which is Zephyr's
/// default: key, hash, signature and encryption. It refuses an image with any other.
pub(crate) const fn listed(kind: u16) -> bool {
    matches!(kind, KEY_HASH | PUBLIC_KEY | SHA256..=SHA512 | RSA2048..=ED25519 | 0x30..=0x34)
}
