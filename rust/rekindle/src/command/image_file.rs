// SPDX-License-Identifier: Apache-2.0
//! Image and key files, with errors that name them.

use std::path::{Path, PathBuf};

use mcuboot_image::key::PublicKey;
use mcuboot_image::sign::{KeyFileError, SigningKey};
use mcuboot_image::{Image, ImageError};

use crate::exit::{Exit, Failure, Outcome};
use crate::files;

/// Environment variable with the password of an encrypted signing key.
const KEY_PASSWORD_VARIABLE: &str = "REKINDLE_KEY_PASSWORD";

/// A file that should be a signed image.
pub(crate) struct ImageFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ImageFile {
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        Ok(Self { path: path.to_owned(), bytes: files::read(path, "image")? })
    }

    /// The image, which must fill the file: an image padded for a programmer would write a boot request into the
    /// slot.
    pub(crate) fn image(&self) -> Outcome<Image<'_>> {
        Image::parse_exact(&self.bytes).map_err(|error| {
            let failure = Failure::new(
                Exit::Input,
                format!("{} is not an image to send: {error}", self.path.display()),
            );
            match error {
                ImageError::Trailing { .. } => {
                    failure.next("send the image without --pad or --confirm; those are for programmers")
                }
                _ => failure
                    .next("sign the application with `rekindle sign` or imgtool, or get the file again"),
            }
        })
    }

    pub(crate) fn check_hash(&self, image: &Image<'_>) -> Outcome {
        image.verify_hash().map_err(|error| self.untrusted(&error))
    }

    pub(crate) fn check_signature(&self, image: &Image<'_>, key: &Path) -> Outcome {
        image.verify(&public_key(key)?).map_err(|error| self.untrusted(&error))
    }

    fn untrusted(&self, error: &dyn core::error::Error) -> Failure {
        Failure::new(Exit::Input, format!("{}: {error}", self.path.display()))
    }
}

/// Reads a public key; a private one will do too.
pub(crate) fn public_key(path: &Path) -> Outcome<PublicKey> {
    let pem = pem(path)?;
    let failed = |error: &dyn core::error::Error| {
        Failure::new(Exit::Input, format!("key {}: {error}", path.display()))
    };
    if pem.contains("PRIVATE KEY") {
        return signing_key(path).map(|key| key.public_key());
    }
    PublicKey::from_pem(&pem).map_err(|error| failed(&error))
}

/// Reads a private key, with the password of an encrypted one from the environment or a prompt.
pub(crate) fn signing_key(path: &Path) -> Outcome<SigningKey> {
    let pem = pem(path)?;
    let failed = |error: &KeyFileError| Failure::new(Exit::Input, format!("key {}: {error}", path.display()));
    match SigningKey::from_pem(&pem) {
        Err(KeyFileError::PasswordNeeded) => {
            let password = match std::env::var(KEY_PASSWORD_VARIABLE) {
                Ok(password) => password,
                Err(_) => {
                    rpassword::prompt_password(format!("Password of {}: ", path.display())).map_err(|_| {
                        failed(&KeyFileError::PasswordNeeded).next(format!("set {KEY_PASSWORD_VARIABLE}"))
                    })?
                }
            };
            SigningKey::from_pem_with_password(&pem, password.as_bytes()).map_err(|error| failed(&error))
        }
        key => key.map_err(|error| failed(&error)),
    }
}

fn pem(path: &Path) -> Outcome<String> {
    String::from_utf8(files::read(path, "key")?)
        .map_err(|_| Failure::new(Exit::Input, format!("key {} is not a PEM file", path.display())))
}
