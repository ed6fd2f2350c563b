// SPDX-License-Identifier: Apache-2.0
//! `sign`.

use mcuboot_image::sign::{SignError, SignOptions, class_uuid, sign, vendor_uuid};
use serde_json::json;

use super::image_file::signing_key;
use crate::cli;
use crate::exit::{Exit, Failure, Outcome};
use crate::files::{self, Readers, Replace};
use crate::output::Output;

pub(crate) fn run(args: &cli::Sign, output: Output) -> Outcome {
    let options = options(args)?;
    let body = files::read(&args.input, "binary")?;
    let key = signing_key(&args.key)?;
    let image = sign(&body, &options, &key).map_err(|error| match error {
        SignError::Alignment(_) | SignError::HeaderSize(_) | SignError::CustomTlv(_) => {
            Failure::of(Exit::Usage, &error)
        }
        SignError::HeaderNotEmpty { .. } => {
            input(args, &error).next("add --pad-header if the binary has no room")
        }
        error => input(args, &error),
    })?;
    files::write(&args.output, &image, Replace::Yes, Readers::All)?;
    let (path, version) = (args.output.display(), args.version);
    output.print(
        &json!({
            "event": "signed",
            "file": path.to_string(),
            "version": version.to_string(),
            "size": image.len(),
        }),
        format!("{path}: version {version}, {} bytes", image.len()),
    )
}

fn input(args: &cli::Sign, error: &SignError) -> Failure {
    Failure::new(Exit::Input, format!("{}: {error}", args.input.display()))
}

fn options(args: &cli::Sign) -> Outcome<SignOptions> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let header_size = u16::try_from(args.header_size)
        .map_err(|_| usage(format!("--header-size {}: at most 65535", args.header_size)))?;
    let security_counter = match args.security_counter.as_deref() {
        None => None,
        Some("auto") => Some(args.version.security_counter()),
        Some(text) => Some(
            cli::number(text)
                .map_err(|_| usage(format!("--security-counter {text}: a number, or `auto`")))?,
        ),
    };
    let vendor = match &args.vendor {
        None => None,
        Some(text) => Some(vendor_uuid(text).map_err(|error| usage(format!("--vendor {text}: {error}")))?),
    };
    let class = match &args.class {
        None => None,
        Some(text) => {
            Some(class_uuid(vendor, text).map_err(|error| usage(format!("--class {text}: {error}")))?)
        }
    };
    Ok(SignOptions {
        pad_header: args.pad_header,
        align: args.align,
        slot_size: args.slot_size,
        max_sectors: args.max_sectors,
        overwrite_only: args.overwrite_only,
        security_counter,
        vendor,
        class,
        dependencies: args.dependencies.clone(),
        custom: args.custom.iter().map(|tlv| (tlv.kind, tlv.value.clone())).collect(),
        ..SignOptions::new(args.version, header_size)
    })
}
