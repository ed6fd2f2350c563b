// SPDX-License-Identifier: Apache-2.0
//! `generate-keypair`.

use std::path::{Path, PathBuf};

use mcuboot_image::sign::SigningKey;
use serde_json::json;

use crate::cli::{self, KeyKind};
use crate::exit::{Exit, Failure, Outcome};
use crate::files::{self, Readers, Replace};
use crate::output::{Output, hex};

pub(crate) fn run(args: &cli::GenerateKeypair, output: Output) -> Outcome {
    let public_path = public_path(&args.output)?;
    for path in [&args.output, &public_path] {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(
                Exit::Input,
                format!("{} exists; keys are never overwritten", path.display()),
            )
            .next("choose another name, or move the old key to a safe place"));
        }
    }
    let key = match args.kind {
        KeyKind::EcdsaP256 => SigningKey::generate_p256(),
        KeyKind::Ed25519 => SigningKey::generate_ed25519(),
    }
    .map_err(|error| Failure::of(Exit::Fault, &error))?;
    let pem = key.to_pem().map_err(|error| Failure::of(Exit::Fault, &error))?;
    let public = key.public_key();
    files::write(&args.output, pem.as_bytes(), Replace::Never, Readers::Owner)?;
    files::write(&public_path, public.to_pem().as_bytes(), Replace::Never, Readers::All)?;
    let (private, public_file) = (args.output.display(), public_path.display());
    output.print(
        &json!({
            "event": "keypair",
            "private": private.to_string(),
            "public": public_file.to_string(),
            "key_hash": hex(&public.key_hash()),
        }),
        format!(
            "{private}: private key, signs images; keep it secret and keep a copy\n\
             {public_file}: public key, goes into the bootloader and checks images"
        ),
    )
}

/// `key.pem` has its public key in `key.pub.pem`.
fn public_path(private: &Path) -> Outcome<PathBuf> {
    if private.file_name().is_none() {
        return Err(Failure::new(Exit::Usage, format!("{} is no file name", private.display())));
    }
    Ok(private.with_extension("pub.pem"))
}
