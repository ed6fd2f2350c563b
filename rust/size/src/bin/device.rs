// SPDX-License-Identifier: Apache-2.0
//! The device side of an update, without the manners of a bus: frames, the messages of an update, receiver,
//! journal, digests and the checks of an image. To be sized.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use fusain::{Decoder, FRAME_MAX, PAYLOAD_MAX, encode_frame};
use rekindle_session::port::FlashFault;
use rekindle_session::receiver::{BootFacts, Config, Output, Receiver, Reply, Safety};
use rekindle_size::driver::{Side, run};
use rekindle_size::{entry, facts, halt};

struct Update {
    decoder: Decoder,
    receiver: Receiver,
}

impl Side for Update {
    fn new(config: Config, boot: BootFacts) -> Option<Self> {
        let receiver = Receiver::new(config, boot).ok()?;
        Some(Self { decoder: Decoder::new(), receiver })
    }

    fn ready(&self) -> bool {
        self.receiver.ready()
    }

    fn push(&mut self, now_ms: u64, safety: Safety, byte: u8) {
        if let Some(Ok(packet)) = self.decoder.push(byte)
            && packet.address == black_box(facts::IDENTITY.address)
        {
            self.receiver.receive(now_ms, safety, packet.payload);
        }
    }

    fn report_stage(&mut self, stage: u32, code: i32) {
        self.receiver.report_stage(stage, code);
    }

    fn confirm(&mut self) {
        self.receiver.confirm();
    }

    fn emergency(&mut self) {
        self.receiver.emergency();
    }

    fn busy(&self, now_ms: u64) -> bool {
        self.receiver.busy(now_ms)
    }

    fn poll(&mut self, now_ms: u64) -> Output<'_> {
        self.receiver.poll(now_ms)
    }

    fn flash_done(&mut self, result: Result<&[u8], FlashFault>) {
        self.receiver.flash_done(result);
    }

    fn boot_done(&mut self, result: Result<(), FlashFault>) {
        self.receiver.boot_done(result);
    }

    #[inline(never)]
    fn frame(reply: &Reply, out: &mut [u8; FRAME_MAX]) -> usize {
        let mut payload = [0; PAYLOAD_MAX];
        let address = black_box(facts::IDENTITY.address);
        let payload = reply.encode(&mut payload).ok().and_then(|len| payload.get(..len));
        payload.and_then(|payload| encode_frame(address, payload, out).ok()).unwrap_or(0)
    }
}

#[entry]
fn main() -> ! {
    run::<Update>()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}
