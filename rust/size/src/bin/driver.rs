// SPDX-License-Identifier: Apache-2.0
//! The program `device` with nothing in it: the same driver, no update, and the memory functions of the compiler's
//! runtime, which a firmware has from its C library. What `device` has on top of it is the update's.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use fusain::FRAME_MAX;
use rekindle_session::port::FlashFault;
use rekindle_session::receiver::{BootFacts, Config, Output, Reply, Safety};
use rekindle_size::driver::{Side, run};
use rekindle_size::{entry, halt};

struct Nothing {
    state: [u8; 2048],
    other: [u8; 2048],
}

impl Side for Nothing {
    fn new(config: Config, boot: BootFacts) -> Option<Self> {
        black_box((&config, &boot));
        // Set, cleared, copied and compared.
        let mut side = Self { state: [0xFF; 2048], other: [0; 2048] };
        *black_box(&mut side.state) = *black_box(&side.other);
        black_box(side.state == side.other).then_some(side)
    }

    fn ready(&self) -> bool {
        black_box(&self.state);
        black_box(true)
    }

    fn push(&mut self, now_ms: u64, safety: Safety, byte: u8) {
        black_box((&mut self.state, now_ms, safety, byte));
    }

    fn report_stage(&mut self, stage: u32, code: i32) {
        black_box((&mut self.state, stage, code));
    }

    fn confirm(&mut self) {
        black_box(&mut self.state);
    }

    fn emergency(&mut self) {
        black_box(&mut self.other);
    }

    fn busy(&self, now_ms: u64) -> bool {
        black_box((&self.state, now_ms));
        black_box(true)
    }

    fn poll(&mut self, now_ms: u64) -> Output<'_> {
        black_box(Output::Wait { until_ms: Some(now_ms) })
    }

    fn flash_done(&mut self, result: Result<&[u8], FlashFault>) {
        let _ = black_box((&mut self.state, result));
    }

    fn boot_done(&mut self, result: Result<(), FlashFault>) {
        let _ = black_box((&mut self.state, result));
    }

    fn frame(reply: &Reply, out: &mut [u8; FRAME_MAX]) -> usize {
        black_box((reply, out));
        black_box(0)
    }
}

#[entry]
fn main() -> ! {
    run::<Nothing>()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}
