// SPDX-License-Identifier: Apache-2.0
//! Keys that sign images, in the files imgtool keeps them in.

use crate::key::PublicKey;
use crate::{SIGNATURE_MAX, tlv};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use pkcs8::der::{SecretDocument, oid::ObjectIdentifier};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef};
use std::string::{String, ToString as _};
use std::vec::Vec;
use zeroize::Zeroizing;

/// `id-ecPublicKey` (RFC 5480).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `id-Ed25519` (RFC 8410).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A private key that signs images. Its memory is cleared when it is dropped.
pub struct SigningKey(Inner);

enum Inner {
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

/// Tells the kind and the public key's hash only.
impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public_key().key_hash()).finish_non_exhaustive()
    }
}

/// Why a key file gives no key, or a key no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The text is no PEM file.
    #[error("not a PEM file: a private key begins with -----BEGIN PRIVATE KEY-----")]
    Pem,
    /// The file holds something else, for example a public key.
    #[error("the file holds a {0}; signing needs a PRIVATE KEY, EC PRIVATE KEY or ENCRYPTED PRIVATE KEY")]
    Label(String),
    /// The key is encrypted and no password was given.
    #[error("the key is encrypted: give its password")]
    PasswordNeeded,
    /// The password is not right (or the file is damaged).
    #[error("the key cannot be decrypted: wrong password, or an encryption other than PBES2")]
    Password,
    /// A key of an algorithm that images are not signed with here.
    #[error(
        "a key of algorithm {0}: only ECDSA P-256 and Ed25519 keys are supported (imgtool keygen -t ecdsa-p256)"
    )]
    Algorithm(String),
    /// Not a key inside, although the outside is right.
    #[error("the key in the file is damaged")]
    Damaged,
    /// The operating system gave no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
}

impl SigningKey {
    /// A new ECDSA P-256 key.
    ///
    /// # Errors
    /// [`KeyFileError::Random`].
    pub fn generate_p256() -> Result<Self, KeyFileError> {
        loop {
            // All but 2^-32 of the numbers are keys.
            if let Ok(key) = p256::ecdsa::SigningKey::from_slice(&*random()?) {
                return Ok(Self(Inner::P256(key)));
            }
        }
    }

    /// A new Ed25519 key.
    ///
    /// # Errors
    /// [`KeyFileError::Random`].
    pub fn generate_ed25519() -> Result<Self, KeyFileError> {
        Ok(Self(Inner::Ed25519(ed25519_dalek::SigningKey::from_bytes(&*random()?))))
    }

    /// Reads a PEM file: PKCS#8 as imgtool and OpenSSL write it, or SEC1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyFileError::PasswordNeeded`] for an encrypted key; and the others.
    pub fn from_pem(pem: &str) -> Result<Self, KeyFileError> {
        Self::read(pem, None)
    }

    /// As [`from_pem`](Self::from_pem), but also reads encrypted keys (`imgtool keygen --password`).
    ///
    /// # Errors
    /// [`KeyFileError::Password`] for a wrong password; and the others.
    pub fn from_pem_with_password(pem: &str, password: &[u8]) -> Result<Self, KeyFileError> {
        Self::read(pem, Some(password))
    }

    fn read(pem: &str, password: Option<&[u8]>) -> Result<Self, KeyFileError> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|_| KeyFileError::Pem)?;
        match label {
            "PRIVATE KEY" => Self::from_pkcs8(document.as_bytes()),
            "EC PRIVATE KEY" => {
                let key =
                    p256::SecretKey::from_sec1_der(document.as_bytes()).map_err(|_| KeyFileError::Damaged)?;
                Ok(Self(Inner::P256(key.into())))
            }
            "ENCRYPTED PRIVATE KEY" => {
                let password = password.ok_or(KeyFileError::PasswordNeeded)?;
                let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
                let plain =
                    info.ok().and_then(|info| info.decrypt(password).ok()).ok_or(KeyFileError::Password)?;
                Self::from_pkcs8(plain.as_bytes())
            }
            other => Err(KeyFileError::Label(other.to_string())),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyFileError> {
        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyFileError::Damaged)?;
        match info.algorithm.oid {
            EC => {
                let curve = info.algorithm.parameters_oid().map_err(|_| KeyFileError::Damaged)?;
                if curve != <p256::NistP256 as pkcs8::AssociatedOid>::OID {
                    return Err(KeyFileError::Algorithm(curve.to_string()));
                }
                let key = p256::SecretKey::from_pkcs8_der(der).map_err(|_| KeyFileError::Damaged)?;
                Ok(Self(Inner::P256(key.into())))
            }
            ED25519 => ed25519_dalek::SigningKey::from_pkcs8_der(der)
                .map(|key| Self(Inner::Ed25519(key)))
                .map_err(|_| KeyFileError::Damaged),
            other => Err(KeyFileError::Algorithm(other.to_string())),
        }
    }

    /// The key as a PEM file: PKCS#8, as imgtool writes it. Whoever reads it can sign.
    ///
    /// # Errors
    /// None that is known; [`KeyFileError::Damaged`] stands for one in the encoding.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyFileError> {
        self.to_pkcs8()?.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| KeyFileError::Damaged)
    }

    /// The key as a PEM file encrypted with a password (PBES2 with scrypt and AES-256), which imgtool reads.
    ///
    /// # Errors
    /// [`KeyFileError::Random`].
    pub fn to_encrypted_pem(&self, password: &[u8]) -> Result<Zeroizing<String>, KeyFileError> {
        let der = self.to_pkcs8()?;
        let info = PrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|_| KeyFileError::Damaged)?;
        let encrypted = info.encrypt(password).map_err(|_| KeyFileError::Random)?;
        encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).map_err(|_| KeyFileError::Damaged)
    }

    fn to_pkcs8(&self) -> Result<SecretDocument, KeyFileError> {
        match &self.0 {
            Inner::P256(key) => p256::SecretKey::from(key).to_pkcs8_der(),
            // Version 1, without the public key, as others write it and older ones only read it.
            Inner::Ed25519(key) => {
                ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None }
                    .to_pkcs8_der()
            }
        }
        .map_err(|_| KeyFileError::Damaged)
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        match &self.0 {
            Inner::P256(key) => PublicKey::from(*key.verifying_key()),
            Inner::Ed25519(key) => PublicKey::from(key.verifying_key()),
        }
    }

    /// Type of the TLV its signatures go into.
    #[must_use]
    pub const fn signature_tlv(&self) -> u16 {
        match &self.0 {
            Inner::P256(_) => tlv::ECDSA,
            Inner::Ed25519(_) => tlv::ED25519,
        }
    }

    /// Signs an image hash: DER for ECDSA, 64 bytes for Ed25519.
    pub(crate) fn sign_hash(&self, hash: &[u8; 32]) -> Vec<u8> {
        match &self.0 {
            Inner::P256(key) => {
                // Fails for a hash of less than half the curve's size, which 32 bytes are not.
                let signature: Result<p256::ecdsa::Signature, _> = key.sign_prehash(hash);
                let mut der = Vec::with_capacity(SIGNATURE_MAX);
                der.extend_from_slice(signature.map(|s| s.to_der()).as_ref().map_or(&[][..], AsRef::as_ref));
                der
            }
            Inner::Ed25519(key) => {
                use ed25519_dalek::Signer as _;
                key.sign(hash).to_vec()
            }
        }
    }
}

fn random() -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|_| KeyFileError::Random)?;
    Ok(bytes)
}
