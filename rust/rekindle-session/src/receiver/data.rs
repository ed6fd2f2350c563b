// SPDX-License-Identifier: Apache-2.0
//! DATA: bytes into the buffer, full pages onto flash, a checkpoint a sector.
//!
//! An answer is sent only when everything that the chunk caused is done. So what is acknowledged and not yet
//! durable is never more than one sector (PROTOCOL.md, acknowledged and durable).

use super::job::{Job, JobOp};
use super::{Answer, Event, Receiver};
use crate::copy;
use crate::port::WRITE_MAX;
use fusain::{Constraint, OtaData, OtaState, Reason};

/// What storing does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Erase ahead, write a page, note a checkpoint: whatever is due.
    Next,
    /// A page was written that ended a sector or the image: its checkpoint is being noted.
    Noted,
}

impl Receiver {
    pub(super) fn on_data(&mut self, now_ms: u64, data: &OtaData<'_>) {
        let Some((next, size)) = self.progress().filter(|_| self.state != OtaState::Activated) else {
            return self.reject(Reason::InvalidInState);
        };
        if self.refused_unsafe() {
            return;
        }
        if data.data.is_empty() {
            return self.refuse(Some(1), Constraint::ValueTooLow);
        }
        let part = u32::try_from(data.offset).ok().zip(u32::try_from(data.data.len()).ok());
        let within = part.and_then(|(offset, len)| Some((offset, offset.checked_add(len)?)));
        let Some((offset, end)) = within.filter(|(_, end)| *end <= size) else {
            return self.refuse(Some(1), Constraint::ValueTooHigh);
        };
        if offset > next {
            return self.gap(now_ms);
        }
        if offset == next {
            self.gap_answered = false;
            self.store(data.data);
        } else if end <= next {
            self.compare(offset, data.data);
        } else {
            self.refuse_offset();
        }
    }

    /// A frame is missing before this one. A sender with a window is told once; one without is told each time.
    fn gap(&mut self, now_ms: u64) {
        let silent = self.windowed && core::mem::replace(&mut self.gap_answered, true);
        self.answer_data(now_ms, if silent { Answer::Silence } else { Answer::Gap });
    }

    fn store(&mut self, data: &[u8]) {
        let Some(transfer) = &mut self.transfer else { return };
        let end = transfer.fill.wrapping_add(data.len());
        let Some(place) = self.buffer.get_mut(transfer.fill..end) else {
            // Longer than any payload can carry (FRAME: at most 101 bytes of data).
            return self.refuse(Some(1), Constraint::ValueTooHigh);
        };
        copy(place, data);
        transfer.fill = end;
        self.job = Job::Store(Step::Next);
    }

    pub(super) fn run_store(&mut self, step: Step, now_ms: u64) {
        if step == Step::Noted {
            self.checkpointed();
        }
        let Some(transfer) = &self.transfer else { return };
        let last = transfer.next() == transfer.size;
        let due = transfer.fill >= WRITE_MAX || (last && transfer.fill > 0);
        if due {
            self.job = Job::Store(Step::Next);
            self.write_page();
            return;
        }
        if last && transfer.durable == transfer.size {
            self.state = OtaState::Received;
        } else if transfer.flushed == transfer.erased_to && !last {
            // The next sector is erased now, while the sender's window keeps the line busy.
            self.job = Job::Store(Step::Next);
            self.erase_ahead();
            return;
        }
        self.answer_data(now_ms, Answer::Acknowledge);
    }

    fn erase_ahead(&mut self) {
        let Some(transfer) = &self.transfer else { return };
        let offset = self.config.layout.image_offset.wrapping_add(transfer.erased_to);
        self.op = Some(JobOp::Erase { offset });
    }

    pub(super) fn store_erased(&mut self) {
        let sector = self.config.layout.sector_size;
        if let Some(transfer) = &mut self.transfer {
            transfer.erased_to = transfer.erased_to.wrapping_add(sector);
        }
    }

    /// Writes the buffer's first page; at the image's end what there is, padded with 0xFF to a write block.
    fn write_page(&mut self) {
        let Some(transfer) = &self.transfer else { return };
        if transfer.flushed == transfer.erased_to {
            self.erase_ahead();
            return;
        }
        let mut len = WRITE_MAX;
        if transfer.fill < WRITE_MAX {
            // Up to the next write block, whose size is a power of two.
            let mask = usize::try_from(self.config.layout.write_block).unwrap_or(1).wrapping_sub(1);
            len = transfer.fill.wrapping_add(mask) & !mask;
            if let Some(pad) = self.buffer.get_mut(transfer.fill..len) {
                pad.fill(0xFF);
            }
        }
        let offset = self.config.layout.image_offset.wrapping_add(transfer.flushed);
        self.op = Some(JobOp::Write { offset, len });
    }

    /// A page is on flash: the buffer moves on, and the end of a sector or of the image is noted.
    pub(super) fn store_written(&mut self, len: usize) {
        let sector = self.config.layout.sector_size;
        let Some(transfer) = &mut self.transfer else { return };
        let taken = len.min(transfer.fill);
        transfer.crc.update(self.buffer.get(..taken).unwrap_or_default());
        // Behind a page lies the rest of the chunk that filled it. (Not `copy_within`: it alone would bring memmove.)
        let (page, rest) = self.buffer.split_at_mut(WRITE_MAX);
        if let Some(start) = page.get_mut(..rest.len())
            && taken == WRITE_MAX
        {
            start.copy_from_slice(rest);
        }
        transfer.fill = transfer.fill.saturating_sub(taken);
        transfer.flushed = transfer.flushed.wrapping_add(u32::try_from(taken).unwrap_or(0));
        let offset = transfer.flushed;
        if offset.checked_rem(sector) == Some(0) || offset == transfer.size {
            let crc = transfer.crc.value();
            self.job = Job::Store(Step::Noted);
            self.journal.append(|record, _| record.checkpoint(offset, crc));
        }
    }

    fn checkpointed(&mut self) {
        if let Some(transfer) = &mut self.transfer {
            transfer.durable = transfer.flushed;
            let (durable, size) = (transfer.durable, transfer.size);
            self.event(Event::Progress { durable, size });
        }
    }

    /// A chunk that was already taken: acknowledged again when it says the same (its answer was lost), refused
    /// when it does not.
    fn compare(&mut self, offset: u32, data: &[u8]) {
        let Some(transfer) = &self.transfer else { return };
        let len = u32::try_from(data.len()).unwrap_or(0);
        let on_flash = transfer.flushed.saturating_sub(offset).min(len);
        let split = usize::try_from(on_flash).unwrap_or(0).min(data.len());
        let (flash, buffered) = data.split_at(split);
        let from =
            usize::try_from(offset.wrapping_add(on_flash).saturating_sub(transfer.flushed)).unwrap_or(0);
        let held = self.buffer.get(from..from.wrapping_add(buffered.len()));
        if !buffered.is_empty() && held != Some(buffered) {
            return self.refuse_offset();
        }
        // The part on flash waits behind the page buffer, which holds less than a page between commands.
        let spare = self.buffer.get_mut(WRITE_MAX..WRITE_MAX.wrapping_add(flash.len()));
        match spare {
            Some(spare) if on_flash > 0 => {
                copy(spare, flash);
                self.job = Job::Compare;
                self.read_slot(offset, on_flash);
            }
            _ => self.acknowledge(),
        }
    }

    pub(super) fn compared(&mut self, len: u32, bytes: &[u8]) {
        let expected = self.buffer.get(WRITE_MAX..).and_then(|spare| spare.get(..usize::try_from(len).ok()?));
        if expected == Some(bytes) {
            self.acknowledge();
        } else {
            self.refuse_offset();
        }
    }
}
