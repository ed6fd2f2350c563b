// SPDX-License-Identifier: Apache-2.0
//! SIGKILL on either side, at random moments of a push over real transports: the exact bytes end up in the slot.
//!
//! An ordinary run kills 12 times; REKINDLE_KILLS=100 is the long run. REKINDLE_SEED replays one (the moments are
//! then the same, the scheduler's mood is not). REKINDLE_REAL_IMAGE names an image of a real build to push instead
//! of a generated one.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests stop at the first surprise"
)]

mod common;

use core::time::Duration;
use std::env;
use std::process::{Child, Stdio};

use common::{ADDRESS, Desk, Device, program, read};
use rekindle_session::port::Area;
use rekindle_sim::bootloader::{Bootloader, SwapMode};
use rekindle_sim::flash::Geometry;
use rekindle_sim::rng::Rng;

/// Bytes of the generated application.
const SIZE: usize = 96 * 1024 + 13;
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

struct Bench<'a> {
    desk: &'a Desk,
    image: String,
    rng: Rng,
    kills_left: u64,
    resumed: u64,
}

impl Bench<'_> {
    /// Pushes one image through up to four kills.
    fn round(&mut self, listen: &str, round: u64) {
        let flash = self.desk.path(&format!("{round}.flash"));
        let old = self.desk.path("1.0.0.img");
        // A transfer takes about half a second, so that kills hit it everywhere.
        let rate = (2 * read(&self.image).len()).to_string();
        let mut device = Device::start(listen, &flash, &old, &["--link-rate", &rate]);
        let kills = self.kills_left.min(1 + self.rng.below(4));
        self.kills_left -= kills;
        let mut push = self.push(&device);
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(self.rng.below(900)));
            if self.rng.below(2) == 0 {
                device.power_off();
                std::thread::sleep(Duration::from_millis(self.rng.below(100)));
                device.power_on();
            } else {
                // It may just have finished: another push must then find that there is nothing left to send.
                push.kill().unwrap();
                push.wait().unwrap();
                push = self.push(&device);
            }
        }
        let output = push.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "round {round} over {listen}: {stdout}\n{stderr}");
        self.resumed += u64::from(stdout.contains("\"event\":\"resumed\""));
        device.power_off();
        self.compare(&flash, round);
    }

    fn push(&self, device: &Device) -> Child {
        program()
            .args(["--json", "push", &self.image, "--to", &device.target, "--address", ADDRESS])
            .arg("--no-activate")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The slot holds the image's exact bytes, and erased flash behind them up to the sector's end at least.
    fn compare(&self, flash: &str, round: u64) {
        let geometry = Geometry::rp2350();
        let offset = Bootloader::new(SwapMode::Offset).layout(&geometry).image_offset;
        let start = usize::try_from(geometry.base(Area::Secondary)).unwrap() + offset as usize;
        let (flash, image) = (read(flash), read(&self.image));
        assert!(flash[start..].starts_with(&image), "round {round}: the slot holds other bytes");
        let end = start + image.len();
        let padding = &flash[end..end.next_multiple_of(256)];
        assert!(padding.iter().all(|byte| *byte == 0xFF), "round {round}: something behind the image");
    }
}

#[test]
fn a_push_survives_kill_on_either_side() {
    let desk = Desk::new();
    desk.image("1.0.0", 20_000, "");
    let image = env::var("REKINDLE_REAL_IMAGE").unwrap_or_else(|_| desk.image("2.0.0", SIZE, ""));
    let (kills, seed) = (number("REKINDLE_KILLS", 12), number("REKINDLE_SEED", 1));
    eprintln!("seed {seed}, {kills} kills, image {image}");
    let mut bench =
        Bench { desk: &desk, image, rng: Rng::new(seed).fork(0x6B111), kills_left: kills, resumed: 0 };
    let mut round = 0;
    while bench.kills_left > 0 {
        let tty = format!("pty:{}", desk.path("tty"));
        let listen = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0", &tty][usize::try_from(round % 3).unwrap()];
        bench.round(listen, round);
        round += 1;
    }
    eprintln!("{round} rounds, {} of their last pushes resumed", bench.resumed);
    assert!(bench.resumed > 0, "no push ever resumed: the kills missed the transfers");
}
