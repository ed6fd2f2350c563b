// SPDX-License-Identifier: Apache-2.0
//! `push` and `activate`: an image into a device, and what became of it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use fusain::{Mode, Version};
use mcuboot_image::digest::Sha256;
use mcuboot_image::{Image, ImageVersion};
use rekindle_session::sender::{BASE_CHUNK, Patience, Plan};

use super::campaign;
use super::image_file::ImageFile;
use super::session::{Purpose, carry_out, conclude};
use crate::cli::{self, BootMode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;

pub(crate) fn run(args: &cli::Push, output: Output) -> Outcome {
    let file = ImageFile::read(&args.file)?;
    let image = file.image()?;
    file.check_hash(&image)?;
    if let Some(key) = &args.key {
        file.check_signature(&image, key)?;
    }
    args.to.target()?;
    if !args.no_activate {
        consent(args.mode, args.yes)?;
    }
    let [address] = args.address.as_slice() else {
        return campaign::run(args, mode(args.mode), &image, output);
    };
    let device = cli::Device { to: args.to.clone(), address: *address };

    let plan = Plan {
        mode: mode(args.mode),
        activate: !args.no_activate,
        chunk: args.chunk.min(BASE_CHUNK),
        chunk_max: args.chunk,
        window_max: args.window,
        patience: Patience { away_ms: u64::from(args.patience) * 1000, ..Patience::default() },
        ..plan_of(&image)?
    };
    let done = carry_out(&device, plan, image.bytes(), Purpose::Transfer, output, &mut |_| {})?;
    conclude(&device, &done, output)
}

/// The plan to push an image, with the sender's defaults.
pub(crate) fn plan_of(image: &Image<'_>) -> Outcome<Plan> {
    let bytes = image.bytes();
    let size = u32::try_from(bytes.len()).map_err(|_| Failure::new(Exit::Input, "the image is too large"))?;
    let ImageVersion { major, minor, revision, build } = image.summary().header.version;
    Ok(Plan {
        version: Some(Version { major, minor, revision, build }),
        ..Plan::push(size, Sha256::digest(bytes), Some(image.summary().image_hash))
    })
}

pub(crate) fn activate(args: &cli::Activate, output: Output) -> Outcome {
    args.device.to.target()?;
    consent(args.mode, args.yes)?;
    let plan =
        Plan { reboot: !args.no_reboot, follow: !args.no_reboot, ..Plan::activate_only(mode(args.mode)) };
    let done = carry_out(&args.device, plan, &[], Purpose::Question, output, &mut |_| {})?;
    conclude(&args.device, &done, output)
}

const fn mode(mode: BootMode) -> Mode {
    match mode {
        BootMode::Test => Mode::Test,
        BootMode::Permanent => Mode::Permanent,
    }
}

/// Booting for good asks for a second consent.
fn consent(mode: BootMode, yes: bool) -> Outcome {
    if mode == BootMode::Test || yes {
        return Ok(());
    }
    let warning = "A permanent image is never reverted: if it does not start, or cannot be updated any more, \
                   somebody has to travel to the device. With --mode test the bootloader goes back to the old \
                   image unless the new one confirms itself.";
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Declined,
            format!("--mode permanent asks for a second consent. {warning}"),
        )
        .next("use --mode test, or add --yes"));
    }
    eprint!("{warning}\nBoot it permanently all the same? Type `permanent`: ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "permanent" {
        return Ok(());
    }
    Err(Failure::new(Exit::Declined, "not activated: nothing was sent").next("use --mode test"))
}
