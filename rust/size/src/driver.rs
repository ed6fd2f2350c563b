// SPDX-License-Identifier: Apache-2.0
//! A driver for something that can be updated: what the programs that are sized have in common.
//!
//! Link, flash, clock and bootloader are opaque to the optimiser, so it can neither fold a configuration in nor
//! drop a part because nothing ever asks for it.

use crate::{facts, halt};
use core::hint::black_box;
use fusain::FRAME_MAX;
use rekindle_session::port::FlashFault;
use rekindle_session::receiver::{BootFacts, Config, Output, Reply, Safety};

/// What is driven: the receiver and the frames before it, or nothing at all in the same shape.
pub trait Side: Sized {
    /// Made at boot.
    fn new(config: Config, boot: BootFacts) -> Option<Self>;
    /// Whether a byte of the link can be taken.
    fn ready(&self) -> bool;
    /// Takes a byte of the link.
    fn push(&mut self, now_ms: u64, safety: Safety, byte: u8);
    /// As the receiver's.
    fn report_stage(&mut self, stage: u32, code: i32);
    /// As the receiver's.
    fn confirm(&mut self);
    /// As the receiver's.
    fn emergency(&mut self);
    /// As the receiver's.
    fn busy(&self, now_ms: u64) -> bool;
    /// As the receiver's.
    fn poll(&mut self, now_ms: u64) -> Output<'_>;
    /// As the receiver's.
    fn flash_done(&mut self, result: Result<&[u8], FlashFault>);
    /// As the receiver's.
    fn boot_done(&mut self, result: Result<(), FlashFault>);
    /// Makes a frame of an answer, and returns its length.
    fn frame(reply: &Reply, out: &mut [u8; FRAME_MAX]) -> usize;
}

/// Drives it for ever.
pub fn run<S: Side>() -> ! {
    // By reference: moved out, it would be copied by the program that is measured.
    if let Some(side) = &mut S::new(black_box(Config::new(facts::LAYOUT)), black_box(facts::BOOT)) {
        loop {
            if side.ready() {
                side.push(black_box(0), black_box(Safety { state: 1, safe: true }), black_box(0));
            }
            ask(side);
            turn(side);
        }
    }
    halt()
}

/// What an application may want.
#[inline(never)]
fn ask<S: Side>(side: &mut S) {
    match black_box(0) {
        0 => side.report_stage(black_box(0), black_box(0)),
        1 => side.confirm(),
        2 => side.emergency(),
        _ => {
            black_box(side.busy(black_box(0)));
        }
    }
}

#[inline(never)]
fn turn<S: Side>(side: &mut S) {
    match side.poll(black_box(0)) {
        Output::Flash(op) => {
            black_box(&op);
            side.flash_done(black_box(Ok::<&[u8], FlashFault>(&[])));
        }
        Output::RequestUpgrade { image, mode } => {
            black_box((image, mode));
            side.boot_done(black_box(Ok(())));
        }
        Output::Confirm => side.boot_done(black_box(Ok(()))),
        Output::Reply(reply) => {
            let mut frame = [0; FRAME_MAX];
            let len = S::frame(&reply, &mut frame);
            black_box(frame.get(..len));
        }
        Output::Event(event) => {
            black_box(&event);
        }
        Output::Reboot => {}
        Output::Wait { until_ms } => {
            black_box(until_ms);
        }
    }
}
