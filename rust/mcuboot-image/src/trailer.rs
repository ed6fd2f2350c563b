// SPDX-License-Identifier: Apache-2.0
//! What MCUboot keeps in the last bytes of a slot (design.md, "Image trailer" and "Image trailers").
//!
//! From the end of the slot downwards: a magic, then the flags *image ok* and *copy done* and the *swap info*, each
//! in a write unit of its own, the size of the swap, and the status of a swap under way. [`Trailer`] knows where
//! they lie, [`State`] what they say, and [`swap_type`] what MCUboot makes of both slots' states.

use crate::slot::SwapMode;

/// Length of the magic in bytes.
pub const MAGIC_SIZE: u32 = 16;
/// Most bytes that [`Trailer::flags_len`] tells.
pub const FLAGS_MAX: usize = 128;
/// Smallest unit MCUboot lays its trailer out with, in bytes.
const MIN_ALIGN: u32 = 8;
/// Largest write block MCUboot swaps with, in bytes.
const MAX_ALIGN: u32 = 32;
/// Value of a flag that is set.
const FLAG_SET: u8 = 1;

/// Magic of slots with write blocks up to 8 bytes.
const MAGIC_8: [u8; 16] =
    [0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80];
/// Magic of the others, after two bytes that tell the alignment.
const MAGIC_ABOVE: [u8; 14] =
    [0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a];

/// What MCUboot does at the next boot (`BOOT_SWAP_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SwapType {
    /// Starts the image in the primary slot.
    None = 1,
    /// Swaps; without a confirmation the next boot swaps back.
    Test = 2,
    /// Swaps for good.
    Perm = 3,
    /// Swaps back, because the running image was not confirmed.
    Revert = 4,
    /// The image asked for is not valid; nothing is swapped.
    Fail = 5,
}

/// What stands in place of the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// The magic.
    Good,
    /// Something else.
    Bad,
    /// Nothing: erased.
    Unset,
}

/// What stands in place of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Set.
    Set,
    /// Neither set nor erased.
    Bad,
    /// Erased.
    Unset,
}

/// Layout of the trailer of one slot; offsets count from the slot's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    slot_size: u32,
    write_block: u32,
    mode: SwapMode,
}

/// One write that MCUboot, or an application asking it for something, makes in a trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailerWrite {
    offset: u32,
    len: u8,
    bytes: [u8; MAX_ALIGN as usize],
}

impl TrailerWrite {
    /// Where to write, from the slot's first byte.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// What to write: whole write blocks.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Trailer {
    /// The trailer of a slot of `slot_size` bytes.
    ///
    /// `None` if `write_block` is no power of two up to 32, or if the slot is no multiple of the trailer's unit or
    /// too small for its flags.
    #[must_use]
    pub const fn new(slot_size: u32, write_block: u32, mode: SwapMode) -> Option<Self> {
        if write_block > MAX_ALIGN || !write_block.is_power_of_two() {
            return None;
        }
        let trailer = Self { slot_size, write_block, mode };
        let fixed = trailer.magic_room() + trailer.unit() * 5;
        if slot_size < fixed || !slot_size.is_multiple_of(trailer.unit()) { None } else { Some(trailer) }
    }

    /// `BOOT_MAX_ALIGN`: the unit of the trailer, in bytes: 8, or the write block if that is larger.
    #[must_use]
    pub const fn unit(&self) -> u32 {
        if self.write_block > MIN_ALIGN { self.write_block } else { MIN_ALIGN }
    }

    /// Bytes from the unit that holds the magic to the end of the slot.
    const fn magic_room(&self) -> u32 {
        if self.unit() > MAGIC_SIZE { self.unit() } else { MAGIC_SIZE }
    }

    /// Offset of the unit that is `units` below the magic's.
    const fn below_magic(&self, units: u32) -> u32 {
        self.slot_size.saturating_sub(self.magic_room() + self.unit() * units)
    }

    /// Offset of the 16 bytes of the magic, which end the slot.
    #[must_use]
    pub const fn magic_offset(&self) -> u32 {
        self.slot_size.saturating_sub(MAGIC_SIZE)
    }

    /// Offset of the *image ok* flag.
    #[must_use]
    pub const fn image_ok_offset(&self) -> u32 {
        self.below_magic(1)
    }

    /// Offset of the *copy done* flag.
    #[must_use]
    pub const fn copy_done_offset(&self) -> u32 {
        self.below_magic(2)
    }

    /// Offset of the *swap info* byte.
    #[must_use]
    pub const fn swap_info_offset(&self) -> u32 {
        self.below_magic(3)
    }

    /// Offset of the lengths of both unprotected TLV areas, which only swapping by offset keeps.
    #[must_use]
    pub const fn tlv_sizes_offset(&self) -> Option<u32> {
        match self.mode {
            SwapMode::Offset => Some(self.below_magic(4)),
            SwapMode::Move | SwapMode::Scratch | SwapMode::Overwrite => None,
        }
    }

    /// Offset of the length of the swap.
    #[must_use]
    pub const fn swap_size_offset(&self) -> u32 {
        match self.mode {
            SwapMode::Offset => self.below_magic(5),
            SwapMode::Move | SwapMode::Scratch | SwapMode::Overwrite => self.below_magic(4),
        }
    }

    /// Bytes from the swap info to the end of the slot: what [`State::parse`] needs; at most [`FLAGS_MAX`].
    #[must_use]
    pub const fn flags_len(&self) -> u32 {
        self.magic_room() + self.unit() * 3
    }

    /// Length of the whole trailer in bytes, with a swap status for `max_sectors` sectors and, if `encryption`, two
    /// AES-128 keys (`boot_trailer_sz`); `None` if beyond 4 GiB.
    #[must_use]
    pub fn size(&self, max_sectors: u32, encryption: bool) -> Option<u32> {
        let keys = if encryption { self.magic_room().checked_mul(2)? } else { 0 };
        let fixed = self.slot_size.checked_sub(self.swap_size_offset())?.checked_add(keys)?;
        self.status_size(max_sectors)?.checked_add(fixed)
    }

    /// Bytes of the swap status of `sectors` sectors.
    pub(crate) fn status_size(&self, sectors: u32) -> Option<u32> {
        let states: u32 = if matches!(self.mode, SwapMode::Offset) { 2 } else { 3 };
        states.checked_mul(self.write_block)?.checked_mul(sectors)
    }

    /// The magic of this slot.
    #[must_use]
    pub fn magic(&self) -> [u8; 16] {
        let Ok(unit) = u16::try_from(self.unit()) else { return MAGIC_8 };
        if self.unit() == MIN_ALIGN {
            return MAGIC_8;
        }
        let mut magic = [0; 16];
        for (to, from) in magic.iter_mut().zip(unit.to_le_bytes().into_iter().chain(MAGIC_ABOVE)) {
            *to = from;
        }
        magic
    }

    /// The write that makes the magic good.
    #[must_use]
    pub fn write_magic(&self, erased: u8) -> TrailerWrite {
        let mut bytes = [erased; MAX_ALIGN as usize];
        let room = self.magic_room();
        for (to, from) in bytes.iter_mut().take(room as usize).rev().zip(self.magic().into_iter().rev()) {
            *to = from;
        }
        self.write(self.below_magic(0), room, bytes)
    }

    /// The write that sets *image ok*: the image is confirmed.
    #[must_use]
    pub fn write_image_ok(&self, erased: u8) -> TrailerWrite {
        self.write_bytes(self.image_ok_offset(), &[FLAG_SET], erased)
    }

    /// The write that sets *copy done*: the swap is complete.
    #[must_use]
    pub fn write_copy_done(&self, erased: u8) -> TrailerWrite {
        self.write_bytes(self.copy_done_offset(), &[FLAG_SET], erased)
    }

    /// The write of the swap info: what to do, and for which of several image pairs (0..=14).
    #[must_use]
    pub fn write_swap_info(&self, swap_type: SwapType, image: u8, erased: u8) -> TrailerWrite {
        self.write_bytes(self.swap_info_offset(), &[(image << 4) | swap_type as u8], erased)
    }

    /// The write of the length of the swap, in bytes.
    #[must_use]
    pub fn write_swap_size(&self, size: u32, erased: u8) -> TrailerWrite {
        self.write_bytes(self.swap_size_offset(), &size.to_le_bytes(), erased)
    }

    /// The write of the lengths of both unprotected TLV areas, in bytes; only swapping by offset has it.
    #[must_use]
    pub fn write_tlv_sizes(&self, primary: u16, secondary: u16, erased: u8) -> Option<TrailerWrite> {
        let [p0, p1] = primary.to_le_bytes();
        let [s0, s1] = secondary.to_le_bytes();
        Some(self.write_bytes(self.tlv_sizes_offset()?, &[p0, p1, s0, s1], erased))
    }

    /// The writes, in order, by which an application asks for the image in this (secondary) slot, whose magic must be
    /// unset (`boot_set_next`).
    pub fn request(
        &self,
        permanent: bool,
        image: u8,
        erased: u8,
    ) -> impl Iterator<Item = TrailerWrite> + use<> {
        let swap_type = if permanent { SwapType::Perm } else { SwapType::Test };
        [
            Some(self.write_magic(erased)),
            permanent.then(|| self.write_image_ok(erased)),
            Some(self.write_swap_info(swap_type, image, erased)),
        ]
        .into_iter()
        .flatten()
    }

    /// A write of `value` (at most 4 bytes), filled up to whole write blocks.
    fn write_bytes(&self, offset: u32, value: &[u8], erased: u8) -> TrailerWrite {
        let mut bytes = [erased; MAX_ALIGN as usize];
        let mut len = 0;
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = *from;
            len += 1;
        }
        self.write(offset, u32::next_multiple_of(len, self.write_block), bytes)
    }

    fn write(&self, offset: u32, len: u32, bytes: [u8; MAX_ALIGN as usize]) -> TrailerWrite {
        TrailerWrite { offset, len: u8::try_from(len).unwrap_or(0), bytes }
    }
}

/// What a trailer says (`struct boot_swap_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// State of the magic.
    pub magic: Magic,
    /// Type in the swap info; [`SwapType::None`] if there is none.
    pub swap_type: SwapType,
    /// Number of the image pair in the swap info.
    pub image: u8,
    /// State of *copy done*.
    pub copy_done: Flag,
    /// State of *image ok*: whether the image was confirmed.
    pub image_ok: Flag,
}

impl State {
    /// The state of an erased trailer.
    pub const UNSET: Self = Self {
        magic: Magic::Unset,
        swap_type: SwapType::None,
        image: 0,
        copy_done: Flag::Unset,
        image_ok: Flag::Unset,
    };

    /// Reads the last [`Trailer::flags_len`] bytes of a slot, where erased bytes read as `erased`.
    ///
    /// `None` for a wrong number of bytes.
    #[must_use]
    pub fn parse(trailer: &Trailer, tail: &[u8], erased: u8) -> Option<Self> {
        if u32::try_from(tail.len()).ok()? != trailer.flags_len() {
            return None;
        }
        let byte = |offset: u32| {
            let at = usize::try_from(offset.checked_sub(trailer.swap_info_offset())?).ok()?;
            tail.get(at).copied()
        };
        let (_, magic) = tail.split_last_chunk::<16>()?;
        let magic = if *magic == trailer.magic() {
            Magic::Good
        } else if magic.iter().all(|b| *b == erased) {
            Magic::Unset
        } else {
            Magic::Bad
        };
        let flag = |value| match value {
            value if value == erased => Flag::Unset,
            FLAG_SET => Flag::Set,
            _ => Flag::Bad,
        };
        let info = byte(trailer.swap_info_offset())?;
        let (swap_type, image) = match info & 0x0f {
            _ if info == erased => (SwapType::None, 0),
            2 => (SwapType::Test, info >> 4),
            3 => (SwapType::Perm, info >> 4),
            4 => (SwapType::Revert, info >> 4),
            // MCUboot keeps the image number beside a type of 0 or 1, and drops it beside one above 4.
            0 | 1 => (SwapType::None, info >> 4),
            _ => (SwapType::None, 0),
        };
        Some(Self {
            magic,
            swap_type,
            image,
            copy_done: flag(byte(trailer.copy_done_offset())?),
            image_ok: flag(byte(trailer.image_ok_offset())?),
        })
    }
}

/// What MCUboot will do at the next boot, by the states of both slots (design.md, "New swaps (non-resumes)").
///
/// It is a request: MCUboot may still find the image it would swap in invalid, and a swap under way is resumed
/// whatever this says.
#[must_use]
pub const fn swap_type(primary: &State, secondary: &State, mode: SwapMode) -> SwapType {
    // States I to III: the secondary slot comes first. A flag that is neither set nor erased matches none.
    match (secondary.magic, secondary.image_ok, secondary.copy_done) {
        (Magic::Good, Flag::Unset, Flag::Set) if matches!(mode, SwapMode::Offset) => return SwapType::Revert,
        (Magic::Good, Flag::Unset, _) => return SwapType::Test,
        (Magic::Good, Flag::Set, _) => return SwapType::Perm,
        _ => {}
    }
    // State IV: swapped in, not confirmed.
    match (primary.magic, primary.image_ok, primary.copy_done) {
        (Magic::Good, Flag::Unset, Flag::Set) => SwapType::Revert,
        _ => SwapType::None,
    }
}

#[cfg(test)]
#[path = "trailer_tests.rs"]
mod tests;
