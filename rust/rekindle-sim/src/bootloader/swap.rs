// SPDX-License-Identifier: Apache-2.0
//! A swap as a list of steps, each of which can be done again after power was lost in the middle of it.
//!
//! The order of erases and copies is that of MCUboot's "swap using offset" and "swap using move" (design.md), so
//! that what a slot holds at any cut is what MCUboot could leave. Where MCUboot remembers its progress is its own
//! affair: this model keeps the step number beside the chip, and a torn status byte cannot mislead it.

use crate::flash::NOTES_LEN;
use mcuboot_image::slot::SwapMode;
use mcuboot_image::trailer::SwapType;
use rekindle_session::port::Area;

/// A swap that has been decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Swap {
    pub(super) mode: SwapMode,
    pub(super) kind: SwapType,
    /// Number of sectors to exchange.
    pub(super) sectors: u32,
    /// Sectors that the primary and the secondary slot's images use; those beyond are not copied.
    pub(super) used: (u32, u32),
    pub(super) swap_size: u32,
    pub(super) tlv_sizes: (u16, u16),
    /// The secondary trailer's *image ok* goes over into the primary's.
    pub(super) image_ok: bool,
    /// A revert first writes a trailer into the secondary slot.
    pub(super) fixup: bool,
    /// Next step.
    pub(super) step: u32,
}

/// One step of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Erase a trailer, then write it, magic last.
    Trailer { area: Area, fields: Fields },
    /// Erase a trailer.
    EraseTrailer(Area),
    /// Erase a sector.
    Erase { area: Area, sector: u32 },
    /// Erase a sector, then copy one into it.
    Copy { from: (Area, u32), to: (Area, u32) },
    /// Note progress in the primary trailer's status area: which entry, and the number of the state it leaves.
    Status { entry: u32, state: u8 },
    /// Set *image ok* in the primary trailer, unless something stands there.
    ImageOk,
    /// Set *copy done* in the primary trailer.
    CopyDone,
}

/// What a trailer is written with, in this order, before its swap size and magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) copy_done: bool,
    pub(super) swap_info: bool,
    pub(super) image_ok: bool,
}

const NOTE: [u8; 4] = *b"SWAP";

impl Swap {
    /// Every step, in order. MCUboot keeps its status for `max_sectors` sectors.
    pub(super) fn steps(&self, max_sectors: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        let offset = self.mode == SwapMode::Offset;
        if self.fixup {
            // Swap using offset marks the secondary slot as a revert under way, swap using move as a permanent
            // upgrade: otherwise a cut before the primary trailer stands would lose the revert.
            let fields = Fields { copy_done: offset, swap_info: offset, image_ok: !offset };
            steps.push(Step::Trailer { area: Area::Secondary, fields });
        }
        let fields = Fields { copy_done: false, swap_info: true, image_ok: self.image_ok };
        steps.push(Step::Trailer { area: Area::Primary, fields });
        steps.push(Step::EraseTrailer(Area::Secondary));
        match (self.mode, self.kind) {
            (SwapMode::Offset, SwapType::Revert) => self.down(&mut steps),
            (SwapMode::Offset, _) => self.up(&mut steps),
            _ => self.by_move(&mut steps, max_sectors),
        }
        if matches!(self.kind, SwapType::Perm | SwapType::Revert) {
            steps.push(Step::ImageOk);
        }
        steps.push(Step::CopyDone);
        steps
    }

    /// An upgrade by offset: primary N to secondary N, secondary N + 1 to primary N.
    fn up(&self, steps: &mut Vec<Step>) {
        for n in 0..self.sectors {
            copy(steps, n <= self.used.0, (Area::Primary, n), (Area::Secondary, n));
            steps.push(Step::Status { entry: 2 * n, state: 1 });
            copy(steps, n <= self.used.1, (Area::Secondary, n + 1), (Area::Primary, n));
            steps.push(Step::Status { entry: 2 * n + 1, state: 2 });
        }
    }

    /// A revert by offset: from the last sector down, primary N to secondary N + 1, secondary N to primary N.
    fn down(&self, steps: &mut Vec<Step>) {
        for (nth, n) in (0..self.sectors).rev().enumerate() {
            let entry = 2 * nth as u32;
            copy(steps, n <= self.used.0, (Area::Primary, n), (Area::Secondary, n + 1));
            steps.push(Step::Status { entry, state: 1 });
            copy(steps, n <= self.used.1, (Area::Secondary, n), (Area::Primary, n));
            steps.push(Step::Status { entry: entry + 1, state: 2 });
        }
        // Otherwise the header left here would stand in the way of the next upgrade.
        steps.push(Step::Erase { area: Area::Secondary, sector: 0 });
        steps.push(Step::EraseTrailer(Area::Secondary));
    }

    /// By move: the primary image up one sector, then sector by sector across.
    fn by_move(&self, steps: &mut Vec<Step>, max_sectors: u32) {
        for (nth, n) in (0..self.sectors).rev().enumerate() {
            copy(steps, true, (Area::Primary, n), (Area::Primary, n + 1));
            steps.push(Step::Status { entry: nth as u32, state: 1 });
        }
        for n in 0..self.sectors {
            let entry = max_sectors + 2 * n;
            copy(steps, true, (Area::Secondary, n), (Area::Primary, n));
            steps.push(Step::Status { entry, state: 1 });
            copy(steps, true, (Area::Primary, n + 1), (Area::Secondary, n));
            steps.push(Step::Status { entry: entry + 1, state: 2 });
        }
    }

    /// The swap as bytes kept beside the chip.
    pub(super) fn to_notes(self) -> [u8; NOTES_LEN] {
        let mut notes = [0xFF; NOTES_LEN];
        let flags = u8::from(self.image_ok) | u8::from(self.fixup) << 1;
        let mode = u8::from(self.mode == SwapMode::Offset);
        let head = [self.kind as u8, mode, flags, 0];
        let words = [self.sectors, self.used.0, self.used.1, self.swap_size, self.step];
        let sizes = [self.tlv_sizes.0, self.tlv_sizes.1];
        let bytes = NOTE
            .into_iter()
            .chain(head)
            .chain(words.into_iter().flat_map(u32::to_le_bytes))
            .chain(sizes.into_iter().flat_map(u16::to_le_bytes));
        for (to, from) in notes.iter_mut().zip(bytes) {
            *to = from;
        }
        notes
    }

    /// The swap that was under way, if any.
    pub(super) fn from_notes(notes: &[u8; NOTES_LEN]) -> Option<Self> {
        if notes[..4] != NOTE {
            return None;
        }
        let kind = match notes[4] {
            2 => SwapType::Test,
            3 => SwapType::Perm,
            4 => SwapType::Revert,
            _ => return None,
        };
        let word = |n: usize| {
            let at = 8 + n * 4;
            u32::from_le_bytes([notes[at], notes[at + 1], notes[at + 2], notes[at + 3]])
        };
        Some(Self {
            mode: if notes[5] == 1 { SwapMode::Offset } else { SwapMode::Move },
            kind,
            sectors: word(0),
            used: (word(1), word(2)),
            swap_size: word(3),
            step: word(4),
            tlv_sizes: (
                u16::from_le_bytes([notes[28], notes[29]]),
                u16::from_le_bytes([notes[30], notes[31]]),
            ),
            image_ok: notes[6] & 1 != 0,
            fixup: notes[6] & 2 != 0,
        })
    }
}

fn copy(steps: &mut Vec<Step>, wanted: bool, from: (Area, u32), to: (Area, u32)) {
    if wanted {
        steps.push(Step::Copy { from, to });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_as_they_were() {
        let swap = Swap {
            mode: SwapMode::Offset,
            kind: SwapType::Revert,
            sectors: 7,
            used: (6, 5),
            swap_size: 7000,
            tlv_sizes: (40, 151),
            image_ok: false,
            fixup: true,
            step: 12,
        };
        assert_eq!(Swap::from_notes(&swap.to_notes()), Some(swap));
        assert_eq!(Swap::from_notes(&[0xFF; NOTES_LEN]), None);
    }
}
