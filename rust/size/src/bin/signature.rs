// SPDX-License-Identifier: Apache-2.0
//! The check of an image's signature: a right one and a wrong one. Without the features it has all but the check,
//! so that the difference is what the check costs.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use mcuboot_image::{Scan, Step};
use rekindle_size::bench::{self, check};
use rekindle_size::entry;

/// Images signed by imgtool, and the public halves of their keys.
#[cfg(not(feature = "ed25519"))]
mod data {
    pub(crate) const IMAGE: &[u8] = include_bytes!("../../../mcuboot-image/tests/data/p256-min.bin");
    pub(crate) const KEY: &[u8] = include_bytes!("../../../mcuboot-image/tests/keys/p256-spki.bin");
}
#[cfg(feature = "ed25519")]
mod data {
    pub(crate) const IMAGE: &[u8] = include_bytes!("../../../mcuboot-image/tests/data/ed25519-min.bin");
    pub(crate) const KEY: &[u8] = include_bytes!("../../../mcuboot-image/tests/keys/ed25519-spki.bin");
}

#[entry]
fn main() -> ! {
    bench::start_clock();
    let image = black_box(data::IMAGE);
    let mut scan = Scan::new(u32::try_from(image.len()).unwrap_or(0));
    while let Step::Read { offset, len } = scan.step() {
        check(scan.feed(part(image, offset, len)).is_ok());
    }
    let Some(summary) = scan.summary() else { bench::fail(line!()) };
    let Some(signature) = summary.signature else { bench::fail(line!()) };
    let signature = part(image, signature.offset, u32::from(signature.len));
    let mut hash = summary.image_hash;
    let (ticks, right) = bench::ticks(|| verify(&hash, signature));
    hash[31] ^= 1;
    check(right && !verify(&hash, signature));
    bench::tell("verify-ticks", ticks);
    bench::succeed()
}

#[cfg(any(feature = "p256", feature = "ed25519"))]
fn verify(hash: &[u8; 32], signature: &[u8]) -> bool {
    mcuboot_image::key::PublicKey::from_spki_der(black_box(data::KEY))
        .is_ok_and(|key| key.verify(hash, signature).is_ok())
}

#[cfg(not(any(feature = "p256", feature = "ed25519")))]
fn verify(hash: &[u8; 32], signature: &[u8]) -> bool {
    black_box((hash, signature, data::KEY));
    hash[31] & 1 == black_box(hash[31]) & 1 && black_box(false)
}

fn part(bytes: &[u8], offset: u32, len: u32) -> &[u8] {
    let from = usize::try_from(offset).unwrap_or(0);
    let len = usize::try_from(len).unwrap_or(0);
    bytes.get(from..from.saturating_add(len)).unwrap_or_default()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    bench::panicked(info)
}
