// SPDX-License-Identifier: Apache-2.0
//! A whole update of a device, from discovery to the outcome after the reboot, over flash in RAM.
//!
//! The sender's part is kept small, and its data lies outside the stack: what the stack is found to hold is the
//! device's, and the few calls that drive it. At the end it tells what `scripts/cross` puts into docs/size.md,
//! and a digest of every frame that was sent and of what the slots hold.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::mem::size_of;
use core::panic::PanicInfo;
use rekindle_session::appliance::Appliance;
use rekindle_session::receiver::{Config, Receiver};
use rekindle_size::bench::{self, tell};
use rekindle_size::entry;
use rekindle_size::scene::{Bench, Flash};
use static_cell::ConstStaticCell;

static FLASH: ConstStaticCell<Flash> = ConstStaticCell::new(Flash::NEW);
static APPLIANCE: ConstStaticCell<Option<Appliance>> = ConstStaticCell::new(None);

#[entry]
fn main() -> ! {
    bench::start_clock();
    let mut bench = Bench::new(FLASH.take(), APPLIANCE.take());
    for round in 0..black_box(4) {
        bench.update(round);
    }
    tell("chunks", bench.chunks);
    tell("chunk-ticks", bench.chunk_ticks);
    tell("frames-sent", bench.sent);
    tell("size-appliance", bytes::<Appliance>());
    tell("size-receiver", bytes::<Receiver>());
    tell("size-config", bytes::<Config>());
    let [a, b, c, d, ..] = bench.digest();
    tell("digest", u64::from(u32::from_be_bytes([a, b, c, d])));
    bench::succeed()
}

fn bytes<T>() -> u64 {
    u64::try_from(size_of::<T>()).unwrap_or(0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    bench::panicked(info)
}
