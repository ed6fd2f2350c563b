// SPDX-License-Identifier: Apache-2.0
//! Public keys, and signatures made with them.
//!
//! MCUboot signs the SHA-256 of header, body and protected TLVs: ECDSA takes it as its hash, Ed25519 as the message
//! (32 bytes; the "pure" variant over the whole image is another thing, and not supported). It names the key by the
//! SHA-256 of its `SubjectPublicKeyInfo`.

#[cfg(feature = "p256")]
use crate::der::ecdsa_p256_raw;
use crate::digest::Sha256;
use crate::{SignatureKind, VerifyError};

/// `SubjectPublicKeyInfo` of a P-256 key, up to its point (RFC 5480).
#[cfg(feature = "p256")]
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Length of an uncompressed P-256 point in bytes.
#[cfg(feature = "p256")]
pub const POINT_LEN: usize = 65;

/// `SubjectPublicKeyInfo` of an Ed25519 key, up to its point (RFC 8410).
#[cfg(feature = "ed25519")]
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key that can check the signature of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(Inner);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    #[cfg(feature = "p256")]
    P256(p256::ecdsa::VerifyingKey),
    #[cfg(feature = "ed25519")]
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl PublicKey {
    /// A P-256 key from its uncompressed point: 4, x and y.
    ///
    /// # Errors
    /// [`KeyError::Invalid`]: no point on the curve, or a compressed one.
    #[cfg(feature = "p256")]
    pub fn p256(point: &[u8; POINT_LEN]) -> Result<Self, KeyError> {
        let [4, coordinates @ ..] = point else { return Err(KeyError::Invalid) };
        let point = p256::Sec1Point::from_untagged_bytes(coordinates.into());
        p256::ecdsa::VerifyingKey::from_sec1_point(&point)
            .map(|key| Self(Inner::P256(key)))
            .map_err(|_| KeyError::Invalid)
    }

    /// An Ed25519 key from its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Invalid`]: no point on the curve, or one of small order, for which anybody can sign.
    #[cfg(feature = "ed25519")]
    pub fn ed25519(point: &[u8; 32]) -> Result<Self, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(point) {
            Ok(key) if !key.is_weak() => Ok(Self(Inner::Ed25519(key))),
            _ => Err(KeyError::Invalid),
        }
    }

    /// A key from its `SubjectPublicKeyInfo` in DER, as imgtool puts it into a bootloader (`getpub`).
    ///
    /// # Errors
    /// [`KeyError::Algorithm`]: not P-256 with an uncompressed point, and not Ed25519 (or support for it is not
    /// compiled in). [`KeyError::Invalid`]: no point on the curve.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        #[cfg(feature = "p256")]
        if let Some(point) = der.strip_prefix(&SPKI_P256) {
            return point.try_into().map_err(|_| KeyError::Invalid).and_then(Self::p256);
        }
        #[cfg(feature = "ed25519")]
        if let Some(point) = der.strip_prefix(&SPKI_ED25519) {
            return point.try_into().map_err(|_| KeyError::Invalid).and_then(Self::ed25519);
        }
        // Without an algorithm compiled in there is nothing to look at.
        let _ = der;
        Err(KeyError::Algorithm)
    }

    /// Hands the key's `SubjectPublicKeyInfo` in DER to `take`, in two parts.
    pub(crate) fn spki<T>(&self, take: impl FnOnce(&[u8], &[u8]) -> T) -> T {
        match &self.0 {
            #[cfg(feature = "p256")]
            Inner::P256(key) => take(&SPKI_P256, key.to_sec1_point(false).as_bytes()),
            #[cfg(feature = "ed25519")]
            Inner::Ed25519(key) => take(&SPKI_ED25519, key.as_bytes()),
        }
    }

    /// The hash by which an image names this key (key hash TLV, 0x01).
    #[must_use]
    pub fn key_hash(&self) -> [u8; 32] {
        self.spki(|head, point| {
            let mut hash = Sha256::new();
            hash.update(head);
            hash.update(point);
            hash.finalize()
        })
    }

    /// The kind of signature this key checks.
    #[must_use]
    pub const fn signature_kind(&self) -> SignatureKind {
        match &self.0 {
            #[cfg(feature = "p256")]
            Inner::P256(_) => SignatureKind::EcdsaP256,
            #[cfg(feature = "ed25519")]
            Inner::Ed25519(_) => SignatureKind::Ed25519,
        }
    }

    /// Checks the signature over an image hash, as MCUboot does.
    ///
    /// Stricter than it needs to be: ECDSA signatures must be proper DER (minimal, positive integers), with at most
    /// the zeros behind them that imgtool adds for old bootloaders; Ed25519 refuses points of small order.
    ///
    /// # Errors
    /// [`VerifyError::Encoding`] or [`VerifyError::Signature`].
    pub fn verify(&self, image_hash: &[u8; 32], signature: &[u8]) -> Result<(), VerifyError> {
        match &self.0 {
            #[cfg(feature = "p256")]
            Inner::P256(key) => {
                use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
                let signature = ecdsa_p256_raw(signature)
                    .and_then(|raw| p256::ecdsa::Signature::from_slice(&raw).ok())
                    .ok_or(VerifyError::Encoding)?;
                key.verify_prehash(image_hash, &signature).map_err(|_| VerifyError::Signature)
            }
            #[cfg(feature = "ed25519")]
            Inner::Ed25519(key) => {
                let signature =
                    ed25519_dalek::Signature::from_slice(signature).map_err(|_| VerifyError::Encoding)?;
                key.verify_strict(image_hash, &signature).map_err(|_| VerifyError::Signature)
            }
        }
    }
}

#[cfg(feature = "sign")]
impl From<p256::ecdsa::VerifyingKey> for PublicKey {
    fn from(key: p256::ecdsa::VerifyingKey) -> Self {
        Self(Inner::P256(key))
    }
}

#[cfg(feature = "sign")]
impl From<ed25519_dalek::VerifyingKey> for PublicKey {
    fn from(key: ed25519_dalek::VerifyingKey) -> Self {
        Self(Inner::Ed25519(key))
    }
}

/// Checks an ECDSA P-256 signature in DER over an image hash.
///
/// # Errors
/// As [`PublicKey::verify`]; [`VerifyError::OtherKey`] for a key of another algorithm.
#[cfg(feature = "p256")]
pub fn verify_p256(key: &PublicKey, image_hash: &[u8; 32], der: &[u8]) -> Result<(), VerifyError> {
    match key.signature_kind() {
        SignatureKind::EcdsaP256 => key.verify(image_hash, der),
        _ => Err(VerifyError::OtherKey),
    }
}

/// Checks an Ed25519 signature over an image hash.
///
/// # Errors
/// As [`PublicKey::verify`]; [`VerifyError::OtherKey`] for a key of another algorithm.
#[cfg(feature = "ed25519")]
pub fn verify_ed25519(
    key: &PublicKey,
    image_hash: &[u8; 32],
    signature: &[u8; 64],
) -> Result<(), VerifyError> {
    match key.signature_kind() {
        SignatureKind::Ed25519 => key.verify(image_hash, signature),
        _ => Err(VerifyError::OtherKey),
    }
}

/// Why bytes are no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Another algorithm, or none.
    Algorithm,
    /// The point is none, or a useless one.
    Invalid,
    /// Not a PEM file with a public key.
    Pem,
}

impl core::fmt::Display for KeyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Algorithm => {
                "not an ECDSA P-256 or Ed25519 public key (SubjectPublicKeyInfo); export it with getpub"
            }
            Self::Invalid => "the public key is damaged: its point is not on the curve, or of small order",
            Self::Pem => "not a PEM file with a PUBLIC KEY; export it with `imgtool getpub -e pem`",
        })
    }
}

impl core::error::Error for KeyError {}

#[cfg(feature = "sign")]
mod host {
    use super::{KeyError, PublicKey};
    use pkcs8::der::Document;
    use std::string::String;
    use std::vec::Vec;

    impl PublicKey {
        /// A key from a PEM file with its `SubjectPublicKeyInfo`.
        ///
        /// # Errors
        /// [`KeyError::Pem`], or as [`from_spki_der`](Self::from_spki_der).
        pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
            match Document::from_pem(pem) {
                Ok(("PUBLIC KEY", document)) => Self::from_spki_der(document.as_bytes()),
                _ => Err(KeyError::Pem),
            }
        }

        /// The key's `SubjectPublicKeyInfo` in DER.
        #[must_use]
        pub fn to_spki_der(&self) -> Vec<u8> {
            self.spki(|head, point| [head, point].concat())
        }

        /// The key as a PEM file.
        #[must_use]
        pub fn to_pem(&self) -> String {
            Document::try_from(self.to_spki_der())
                .and_then(|der| der.to_pem("PUBLIC KEY", pkcs8::LineEnding::LF))
                .unwrap_or_default()
        }
    }
}
