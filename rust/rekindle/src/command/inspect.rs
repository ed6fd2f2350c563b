// SPDX-License-Identifier: Apache-2.0
//! `inspect` and `verify`: what is in an image, and whose it is.

use core::fmt::Write as _;

use mcuboot_image::digest::Sha256;
use mcuboot_image::{Image, SignatureKind};
use serde_json::json;

use super::image_file::ImageFile;
use crate::cli;
use crate::exit::Outcome;
use crate::output::{Output, hex};

/// Checks that the image is whole and signed by the key.
pub(crate) fn verify(args: &cli::Verify, output: Output) -> Outcome {
    let file = ImageFile::read(&args.file)?;
    let image = file.image()?;
    file.check_signature(&image, &args.key)?;
    let (path, key, version) = (args.file.display(), args.key.display(), image.summary().header.version);
    output.print(
        &json!({
            "event": "verified",
            "file": path.to_string(),
            "key": key.to_string(),
            "version": version.to_string(),
            "image_hash": hex(&image.summary().image_hash),
        }),
        format!("{path}: version {version}, whole, signed by {key}"),
    )
}

/// Shows what is in an image that is whole; damage is an error.
pub(crate) fn inspect(args: &cli::Inspect, output: Output) -> Outcome {
    let file = ImageFile::read(&args.file)?;
    let image = file.image()?;
    let encrypted = image.summary().header.is_encrypted();
    if !encrypted {
        file.check_hash(&image)?;
    }
    let summary = image.summary();
    let header = &summary.header;
    let dependencies: Vec<String> = image
        .dependencies()
        .map(|needed| format!("image {} at {} or later", needed.image, needed.min_version))
        .collect();
    let json = json!({
        "event": "image",
        "file": args.file.display().to_string(),
        "version": header.version.to_string(),
        "size": image.bytes().len(),
        "digest": hex(&Sha256::digest(image.bytes())),
        "header_size": header.header_size,
        "body_size": header.image_size,
        "load_address": header.load_addr,
        "flags": header.flags,
        "encrypted": encrypted,
        "image_hash": hex(&summary.image_hash),
        "signature": summary.signature.map(|signature| signature_name(signature.kind)),
        "signatures": summary.signatures,
        "key_hash": summary.key_hash.as_ref().map(|hash| hex(hash)),
        "security_counter": summary.security_counter,
        "vendor": summary.vendor.as_ref().map(|uuid| hex(uuid)),
        "class": summary.class.as_ref().map(|uuid| hex(uuid)),
        "dependencies": dependencies,
        "tlvs": image.tlvs().map(|tlv| json!({
            "type": tlv.kind,
            "offset": tlv.offset,
            "size": tlv.value.len(),
            "protected": tlv.protected,
        })).collect::<Vec<_>>(),
    });
    output.print(&json, text(args, &image, &dependencies))
}

fn text(args: &cli::Inspect, image: &Image<'_>, dependencies: &[String]) -> String {
    let summary = image.summary();
    let header = &summary.header;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {name:<17} {value}");
    };
    line("version", header.version.to_string());
    line("size", format!("{} bytes, of them {} application", image.bytes().len(), header.image_size));
    line("digest", hex(&Sha256::digest(image.bytes())));
    line("image hash", hex(&summary.image_hash));
    if header.is_encrypted() {
        line("encrypted", "yes: what is inside cannot be checked without the key".to_owned());
    }
    match summary.signature {
        None => line("signature", "none: a bootloader that checks signatures refuses this image".to_owned()),
        Some(signature) => {
            let more = match summary.signatures {
                0 | 1 => String::new(),
                count => format!(", {} more", count - 1),
            };
            line(
                "signature",
                format!("{}{more}; `rekindle verify` checks it", signature_name(signature.kind)),
            );
        }
    }
    if let Some(hash) = &summary.key_hash {
        line("key hash", hex(hash));
    }
    if let Some(counter) = summary.security_counter {
        line("security counter", counter.to_string());
    }
    if let Some(vendor) = &summary.vendor {
        line("vendor", hex(vendor));
    }
    if let Some(class) = &summary.class {
        line("class", hex(class));
    }
    for needed in dependencies {
        line("needs", needed.clone());
    }
    format!("{}\n{text}", args.file.display())
}

fn signature_name(kind: SignatureKind) -> String {
    match kind {
        SignatureKind::EcdsaP256 => "ECDSA P-256".to_owned(),
        SignatureKind::Ed25519 => "Ed25519".to_owned(),
        SignatureKind::Other(tlv) => format!("TLV {tlv:#06x}"),
    }
}
