// SPDX-License-Identifier: Apache-2.0
//! The beginning: what was durable is read back, and an image that was coming goes on where it is.

use fusain::relay::Stage;

use crate::controller::{Event, Relay};
use crate::port::{File, STORE_MAX_U32, StoreFault, StoreOp};
use crate::record::{Checksum, ENTRY_LEN, HEAD_LEN, Head, TAIL_LEN, decode_device};
use crate::root::RootMode;

/// Tries of a read before its failure counts: what the state says decides too much to be judged from a passing
/// fault.
const READ_TRIES: u8 = 3;

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The state's head.
    Head,
    /// So many entries are read; these are left.
    Entry {
        left: u8,
    },
    /// The state's CRC.
    Tail,
    /// The audit file, a record at a time.
    Audit,
    /// The image, to see whether what counted as durable is what was there.
    Image {
        offset: u32,
    },
    Over,
}

/// The reading of the store; see the [module's documentation](self).
#[derive(Debug)]
pub(crate) struct Boot {
    step: Step,
    at: u32,
    crc: Checksum,
    image: Checksum,
    tries: u8,
}

impl Boot {
    pub(crate) const fn new() -> Self {
        Self { step: Step::Head, at: 0, crc: Checksum::new(), image: Checksum::new(), tries: 1 }
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }
}

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    pub(crate) fn boot_op(&self) -> Option<StoreOp<'_>> {
        let read = |file, offset, len: usize| {
            let len = u32::try_from(len).unwrap_or(0);
            Some(StoreOp::Read { file, offset, len })
        };
        match self.boot.step {
            Step::Head => read(File::State, 0, HEAD_LEN),
            Step::Entry { .. } => read(File::State, self.boot.at, ENTRY_LEN),
            Step::Tail => read(File::State, self.boot.at, TAIL_LEN),
            Step::Audit => read(File::Audit, self.audit.end(), crate::record::AUDIT_LEN),
            Step::Image { offset } => {
                let durable = self.session.map_or(0, |session| session.durable);
                let len = durable.saturating_sub(offset).min(STORE_MAX_U32);
                Some(StoreOp::Read { file: File::Image, offset, len })
            }
            Step::Over => None,
        }
    }

    /// Nothing moves at boot but by a read's answer; the end of it is found here.
    pub(crate) fn pump_boot(&mut self) {
        let Step::Image { offset } = self.boot.step else { return };
        // A whole image is judged before it goes anywhere, so only one that is coming is looked at here.
        let coming = self.session.as_mut().filter(|session| !session.complete());
        let done = coming.as_ref().is_none_or(|session| offset >= session.durable);
        if !done {
            return;
        }
        if let Some(session) = coming
            && self.boot.image.value() != session.durable_crc
        {
            session.restart();
            self.meta.touch();
        }
        self.started();
    }

    pub(crate) fn boot_done(&mut self, result: Result<&[u8], StoreFault>) {
        let Ok(bytes) = result else {
            self.boot.tries = self.boot.tries.saturating_add(1);
            if self.boot.tries > READ_TRIES {
                self.boot.tries = 1;
                self.boot_unreadable();
            }
            return;
        };
        self.boot.tries = 1;
        match self.boot.step {
            Step::Head => self.boot_head(bytes),
            Step::Entry { left } => self.boot_entry(left, bytes),
            Step::Tail => {
                if self.boot.crc.value().to_le_bytes() != bytes {
                    self.boot_blank();
                }
                self.boot.step = Step::Audit;
            }
            Step::Audit => {
                if !self.audit.found(bytes) {
                    self.boot.step = Step::Image { offset: 0 };
                }
            }
            Step::Image { offset } => {
                let wanted = self.session.map_or(0, |s| s.durable.saturating_sub(offset)).min(STORE_MAX_U32);
                let len = u32::try_from(bytes.len()).unwrap_or(0);
                self.boot.image.update(bytes);
                // A file that ends too early has another checksum.
                let next = if len == wanted { offset.saturating_add(len) } else { u32::MAX };
                self.boot.step = Step::Image { offset: next };
            }
            Step::Over => {}
        }
    }

    /// What cannot be read is as good as not there.
    fn boot_unreadable(&mut self) {
        match self.boot.step {
            Step::Head | Step::Entry { .. } | Step::Tail => {
                self.boot_blank();
                self.boot.step = Step::Audit;
            }
            Step::Audit => self.boot.step = Step::Image { offset: 0 },
            Step::Image { .. } => {
                self.boot.image = Checksum::new();
                self.boot.step = Step::Image { offset: u32::MAX };
            }
            Step::Over => {}
        }
    }

    fn boot_head(&mut self, bytes: &[u8]) {
        let head = if bytes.len() == HEAD_LEN { Head::decode(bytes) } else { None };
        let Some(head) = head.filter(|head| usize::from(head.devices) <= N) else {
            self.boot_blank();
            self.boot.step = Step::Audit;
            return;
        };
        self.root = RootMode::recorded(head.root, head.downgrade);
        self.session = head.session;
        self.boot.crc.update(bytes);
        self.boot.at = u32::try_from(HEAD_LEN).unwrap_or(0);
        self.boot_next(head.devices);
    }

    fn boot_next(&mut self, left: u8) {
        self.boot.step = if left == 0 { Step::Tail } else { Step::Entry { left } };
    }

    fn boot_entry(&mut self, left: u8, bytes: &[u8]) {
        let device = if bytes.len() == ENTRY_LEN { decode_device(bytes) } else { None };
        let Some(slot) = device.and_then(|device| self.roster.admit(device, true, self.now_ms)) else {
            self.boot_blank();
            self.boot.step = Step::Audit;
            return;
        };
        // A link that there is no more: the appliance is met again wherever it is.
        if self.roster.get(slot).is_some_and(|device| usize::from(device.link) >= L)
            && let Some(device) = self.roster.get_mut(slot)
        {
            device.link = 0;
        }
        self.boot.crc.update(bytes);
        self.boot.at = self.boot.at.saturating_add(u32::try_from(ENTRY_LEN).unwrap_or(0));
        self.boot_next(left.saturating_sub(1));
    }

    /// There is no state, or none that can be believed: everything is as from the factory, root mode off.
    fn boot_blank(&mut self) {
        self.root = RootMode::default();
        self.session = None;
        self.roster.clear();
    }

    /// Everything is read: appliances go on from where the record has them.
    fn started(&mut self) {
        self.boot.step = Step::Over;
        let known = self.session.is_some();
        for (_, device) in self.roster.iter_mut() {
            device.stage = match device.stage {
                // Without an image there is nothing to go on with.
                _ if !known && device.needs_image() => Stage::None,
                // Whatever was on its way is asked for again.
                Stage::Transferring => Stage::Queued,
                stage => stage,
            };
            device.offset = 0;
        }
        // A file that no state names is what a cut left of one that was being removed.
        self.cleanup = !known;
        let resumed = self.session.map_or(0, |session| session.durable);
        self.outbox.event(Event::Started { resumed });
        self.drop_unneeded();
    }
}
