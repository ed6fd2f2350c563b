// SPDX-License-Identifier: Apache-2.0
//! `demo`: an update that survives a power cut, one that is reverted, one that is refused.
//!
//! The device is a process of its own, this very program, with its flash in a file. Its power is cut by killing it
//! (SIGKILL): nothing gets a chance to tidy up.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use mcuboot_image::sign::{SignOptions, SigningKey, sign};
use mcuboot_image::{Image, ImageVersion};
use rekindle_client::drive::DriveEvent;
use rekindle_client::target::Target;
use rekindle_session::sender::{Completion, SenderEvent};
use rekindle_sim::device::MARKER;
use rekindle_sim::rng::Rng;
use serde_json::{Value, json};

use super::push::plan_of;
use super::session::{Done, Purpose, carry_out, why_not};
use crate::cli::{self, Device, TargetUrl};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, bytes};

/// Size of the demonstrated applications, in bytes: that of a small Zephyr application.
const APPLICATION: usize = 192 * 1024;
/// Bytes per second of the virtual link: fast for a serial line, slow enough to watch.
const LINK_RATE: u32 = 64 * 1024;
/// What the third image does when it runs.
const FAILING_SELF_TEST: &str = "fail:3:-5";

pub(crate) fn run(args: &cli::Demo, output: Output) -> Outcome {
    let began = Instant::now();
    let temporary;
    let folder = match &args.keep {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(|error| folder_failed(folder, &error))?;
            folder.as_path()
        }
        None => {
            temporary = tempfile::tempdir().map_err(|error| folder_failed(&std::env::temp_dir(), &error))?;
            temporary.path()
        }
    };
    let mut story = Story::begin(folder, args.seed, output)?;
    story.survive_a_power_cut()?;
    story.revert_a_bad_image()?;
    story.refuse_a_foreign_key()?;
    let seconds = began.elapsed().as_secs_f64();
    output.print(
        &json!({"event": "demo_done", "seconds": (seconds * 10.0).round() / 10.0}),
        format!(
            "\nDone in {seconds:.0} s. The device runs {} and was never without an image that boots.\n\
             Next: README.md shows the same with a device of your own.",
            story.running
        ),
    )
}

fn folder_failed(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Input, format!("cannot use folder {}: {error}", folder.display()))
}

struct Story {
    folder: PathBuf,
    seed: u64,
    output: Output,
    key: SigningKey,
    appliance: VirtualDevice,
    step: u32,
    running: ImageVersion,
}

impl Story {
    fn begin(folder: &Path, seed: u64, output: Output) -> Outcome<Self> {
        let key = SigningKey::generate_p256().map_err(|error| Failure::of(Exit::Fault, &error))?;
        let public = folder.join("demo.pub.pem");
        write(&public, key.public_key().to_pem().as_bytes())?;
        let appliance = VirtualDevice {
            flash: folder.join("device.flash"),
            install: folder.join("1.0.0.img"),
            key: public,
            listen: "tcp://127.0.0.1:0".to_owned(),
            running: None,
        };
        let _ = fs::remove_file(&appliance.flash);
        let running = ImageVersion::new(1, 0, 0, 0);
        let mut story = Self { folder: folder.to_owned(), seed, output, key, appliance, step: 0, running };

        story.tell("A signing key, and version 1.0.0 of an application, signed with it")?;
        story.image(running, "", None)?;
        story.tell("A device that runs 1.0.0: a process of its own, its flash in a file, its bootloader trusts the key")?;
        let target = story.appliance.power_on()?;
        story.remark(&format!("it listens at {target}"))?;
        Ok(story)
    }

    fn survive_a_power_cut(&mut self) -> Outcome {
        let version = ImageVersion::new(1, 1, 0, 0);
        let image = self.image(version, "", None)?;
        self.tell("Version 1.1.0 is pushed; half-way, the device loses power (kill -9)")?;
        let output = self.output;
        let appliance = &mut self.appliance;
        let mut cut = None;
        let mut resumed = None;
        let mut failed = Ok(());
        let done = push(appliance.device()?, &image, output, &mut |event| {
            if failed.is_ok() {
                failed = power_cut(event, appliance, &mut cut, &mut resumed, output);
            }
        })?;
        failed?;
        let (Some(cut), Some(resumed)) = (cut, resumed) else {
            return Err(unexpected(&done, "a transfer that was cut and resumed"));
        };
        self.expect(&done, Completion::Confirmed)?;
        self.running = version;
        let counters = &done.report.counters;
        self.remark(&format!(
            "{} were acknowledged when power went, {} were safe in flash: {} of {} were sent twice",
            bytes(cut.into()),
            bytes(resumed.into()),
            bytes(counters.bytes_again),
            bytes(u64::try_from(image.len()).unwrap_or(u64::MAX))
        ))?;
        self.remark(
            "the device verified what is in its flash, booted it for a test, passed its self-test, confirmed",
        )
    }

    fn revert_a_bad_image(&mut self) -> Outcome {
        let image = self.image(ImageVersion::new(1, 2, 0, 0), FAILING_SELF_TEST, None)?;
        self.tell(
            "Version 1.2.0 has a fault: its self-test fails. It is well signed, so the bootloader tries it",
        )?;
        let done = push(self.appliance.device()?, &image, self.output, &mut |_| {})?;
        self.expect(&done, Completion::Reverted)?;
        let why = done.report.outcome.as_ref().and_then(why_not).unwrap_or_default();
        self.remark(&format!("reverted: {why}"))?;
        self.remark(&format!("the device runs {} again", self.running))
    }

    fn refuse_a_foreign_key(&mut self) -> Outcome {
        let foreign = SigningKey::generate_p256().map_err(|error| Failure::of(Exit::Fault, &error))?;
        let image = self.image(ImageVersion::new(1, 3, 0, 0), "", Some(&foreign))?;
        self.tell("Version 1.3.0 is signed with a key that the bootloader does not trust")?;
        let done = push(self.appliance.device()?, &image, self.output, &mut |_| {})?;
        self.expect(&done, Completion::RefusedByBootloader)?;
        self.remark(&format!("refused by the bootloader; the device still runs {}", self.running))
    }

    /// Makes and signs an image of seeded bytes.
    fn image(&self, version: ImageVersion, self_test: &str, key: Option<&SigningKey>) -> Outcome<Vec<u8>> {
        let mut body = vec![0; APPLICATION];
        Rng::new(self.seed).fork(u64::from(version.minor)).fill(&mut body);
        if !self_test.is_empty() {
            // The virtual device reads in the image what its self-test shall come to.
            let marker = format!("{MARKER}{self_test}\0");
            body.iter_mut().zip(marker.bytes()).for_each(|(to, from)| *to = from);
        }
        let options = SignOptions { pad_header: true, ..SignOptions::new(version, 0x200) };
        let image = sign(&body, &options, key.unwrap_or(&self.key))
            .map_err(|error| Failure::of(Exit::Fault, &error))?;
        write(&self.folder.join(format!("{version}.img")), &image)?;
        Ok(image)
    }

    fn expect(&self, done: &Done, completion: Completion) -> Outcome {
        let info = done.report.info.map(|info| info.version.to_string());
        let runs_as_it_should = match completion {
            Completion::Confirmed => true,
            _ => info.as_deref() == Some(self.running.to_string().as_str()),
        };
        if done.report.completion == completion && runs_as_it_should {
            Ok(())
        } else {
            Err(unexpected(done, &format!("{completion:?}")))
        }
    }

    fn tell(&mut self, text: &str) -> Outcome {
        self.step += 1;
        let step = self.step;
        self.output
            .print(&json!({"event": "demo_step", "step": step, "text": text}), format!("\n{step}. {text}"))
    }

    fn remark(&self, text: &str) -> Outcome {
        remark(self.output, text)
    }
}

fn remark(output: Output, text: &str) -> Outcome {
    output.print(&json!({"event": "demo_remark", "text": text}), format!("   => {text}"))
}

fn unexpected(done: &Done, wanted: &str) -> Failure {
    let message =
        format!("the demonstration went wrong: expected {wanted}, got {:?}", done.report.completion);
    Failure::new(Exit::Fault, message).next("please report it, with the output above")
}

/// Takes the device's power half-way, and gives it back when the sender has noticed.
fn power_cut(
    event: &DriveEvent<'_>,
    appliance: &mut VirtualDevice,
    cut: &mut Option<u32>,
    resumed: &mut Option<u32>,
    output: Output,
) -> Outcome {
    match event {
        DriveEvent::Sender(SenderEvent::Acknowledged { offset }, progress)
            if cut.is_none() && *offset >= progress.size / 2 =>
        {
            appliance.power_off();
            *cut = Some(*offset);
            remark(output, &format!("power is cut at byte {offset}"))
        }
        DriveEvent::Retry(..) if appliance.running.is_none() => {
            appliance.power_on()?;
            remark(output, "power is back")
        }
        DriveEvent::Sender(SenderEvent::Resumed { offset, .. }, _) => {
            *resumed = Some(*offset);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn push(
    device: Device,
    image: &[u8],
    output: Output,
    watch: &mut dyn FnMut(&DriveEvent<'_>),
) -> Outcome<Done> {
    let parsed = Image::parse_exact(image).map_err(|error| Failure::of(Exit::Fault, &error))?;
    carry_out(&device, plan_of(&parsed)?, image, Purpose::Transfer, output, watch)
}

fn write(path: &Path, content: &[u8]) -> Outcome {
    fs::write(path, content)
        .map_err(|error| Failure::new(Exit::Input, format!("cannot write {}: {error}", path.display())))
}

/// The device's process, and what starts it.
struct VirtualDevice {
    flash: PathBuf,
    install: PathBuf,
    key: PathBuf,
    listen: String,
    running: Option<Child>,
}

impl VirtualDevice {
    /// Starts the process and waits until it listens.
    fn power_on(&mut self) -> Outcome<Target> {
        let failed = |error: &dyn core::fmt::Display| {
            Failure::new(Exit::Fault, format!("cannot start the virtual device: {error}"))
        };
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut child = Command::new(program)
            .args(["--json", "simulate", "appliance", "--listen", &self.listen, "--flash"])
            .arg(&self.flash)
            .arg("--install")
            .arg(&self.install)
            .arg("--key")
            .arg(&self.key)
            .args(["--link-rate", &LINK_RATE.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let stdout = child.stdout.take();
        self.running = Some(child);
        let mut reader = BufReader::new(stdout.ok_or_else(|| failed(&"no output"))?);
        let mut line = String::new();
        reader.read_line(&mut line).map_err(|error| failed(&error))?;
        // Somebody has to read what it says, or it would stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let target = listening_at(&line).ok_or_else(|| failed(&line.trim()))?;
        // The same port after the power cut.
        self.listen = target.to_string();
        Ok(target)
    }

    /// SIGKILL: the power cut.
    fn power_off(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn device(&self) -> Outcome<Device> {
        let failed = |_| Failure::new(Exit::Fault, "the virtual device has no address");
        let Ok(to) = self.listen.parse::<TargetUrl>();
        Ok(Device { to, address: cli::VIRTUAL_ADDRESS.parse().map_err(failed)? })
    }
}

impl Drop for VirtualDevice {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Where a virtual device says that it listens.
fn listening_at(line: &str) -> Option<Target> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event.get("event")? != "listening" {
        return None;
    }
    event.get("target")?.as_str()?.parse().ok()
}
