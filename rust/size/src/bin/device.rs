// SPDX-License-Identifier: Apache-2.0
//! The device side of an update, without the manners of a bus: frames, the messages of an update, receiver,
//! journal, digests and the checks of an image. To be sized.
//!
//! Link, flash, clock and bootloader are opaque to the optimiser, so it can neither fold a configuration in nor
//! drop a part because nothing ever asks for it.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use fusain::{Command, Decoder, EncodeError, FRAME_MAX, PAYLOAD_MAX, encode_frame};
use rekindle_session::port::FlashFault;
use rekindle_session::receiver::{Config, Output, Receiver, Reply, Safety};
use rekindle_size::{entry, facts, halt};

#[entry]
fn main() -> ! {
    let config = black_box(Config::new(facts::LAYOUT));
    // By reference: moved out of the result, it would be copied by the program that is measured.
    if let Ok(receiver) = &mut Receiver::new(config, black_box(facts::BOOT)) {
        let mut decoder = Decoder::new();
        loop {
            if receiver.ready() {
                receive(&mut decoder, receiver);
            }
            ask(receiver);
            turn(receiver);
        }
    }
    halt()
}

fn receive(decoder: &mut Decoder, receiver: &mut Receiver) {
    let Some(Ok(packet)) = decoder.push(black_box(0)) else { return };
    black_box(packet.address);
    let safety = black_box(Safety { state: 1, safe: true });
    match Command::decode(packet.payload) {
        Ok(Some(command)) => receiver.command(black_box(0), safety, &Ok(command)),
        Err(error) => receiver.command(black_box(0), safety, &Err(error)),
        Ok(None) => {}
    }
}

fn ask(receiver: &mut Receiver) {
    match black_box(0) {
        0 => receiver.report_stage(black_box(0), black_box(0)),
        1 => receiver.confirm(),
        2 => receiver.emergency(),
        _ => {
            black_box(receiver.busy(black_box(0)));
        }
    }
}

fn turn(receiver: &mut Receiver) {
    match receiver.poll(black_box(0)) {
        Output::Flash(op) => {
            black_box(&op);
            receiver.flash_done(black_box(Ok::<&[u8], FlashFault>(&[])));
        }
        Output::RequestUpgrade { image, mode } => {
            black_box((image, mode));
            receiver.boot_done(black_box(Ok(())));
        }
        Output::Confirm => receiver.boot_done(black_box(Ok(()))),
        Output::Reply(reply) => {
            let _ = black_box(send(&reply));
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

fn send(reply: &Reply) -> Result<(), EncodeError> {
    let mut payload = [0; PAYLOAD_MAX];
    let len = match reply {
        Reply::Status(status) => status.encode(&mut payload),
        Reply::Invalid(invalid) => invalid.encode(&mut payload),
        Reply::Reject(reject) => reject.encode(&mut payload),
        Reply::Info(info) => info.encode(&mut payload),
        Reply::Outcome(report) => report.encode(&mut payload),
    }?;
    let mut frame = [0; FRAME_MAX];
    let len =
        encode_frame(black_box(facts::IDENTITY.address), payload.get(..len).unwrap_or_default(), &mut frame)?;
    black_box(frame.get(..len));
    Ok(())
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}
