// SPDX-License-Identifier: Apache-2.0
extern crate std;
use super::*;
use std::vec;
use std::vec::Vec;

const SLOT: u32 = 0x1_0000;
const ALIGNS: [u32; 6] = [1, 2, 4, 8, 16, 32];
const MODES: [SwapMode; 4] = [SwapMode::Move, SwapMode::Offset, SwapMode::Scratch, SwapMode::Overwrite];

fn apply(slot: &mut [u8], write: &TrailerWrite) {
    for (to, from) in slot[write.offset() as usize..].iter_mut().zip(write.bytes()) {
        *to &= from;
    }
}

fn state(trailer: &Trailer, slot: &[u8]) -> State {
    State::parse(trailer, &slot[trailer.swap_info_offset() as usize..], 0xff).unwrap()
}

/// Offsets from the end, worked out by hand from the drawing in design.md.
#[test]
fn offsets_for_every_write_block() {
    for (align, image_ok, copy_done, swap_info) in [
        (1, 24, 32, 40),
        (2, 24, 32, 40),
        (4, 24, 32, 40),
        (8, 24, 32, 40),
        (16, 32, 48, 64),
        (32, 64, 96, 128),
    ] {
        for mode in MODES {
            let t = Trailer::new(SLOT, align, mode).unwrap();
            assert_eq!(t.magic_offset(), SLOT - 16);
            assert_eq!(t.image_ok_offset(), SLOT - image_ok);
            assert_eq!(t.copy_done_offset(), SLOT - copy_done);
            assert_eq!(t.swap_info_offset(), SLOT - swap_info);
            assert_eq!(t.flags_len(), swap_info);
            let unit = align.max(8);
            let offset = mode == SwapMode::Offset;
            assert_eq!(t.tlv_sizes_offset(), offset.then_some(SLOT - swap_info - unit));
            assert_eq!(t.swap_size_offset(), SLOT - swap_info - unit * if offset { 2 } else { 1 });
        }
    }
}

#[test]
fn sizes_with_status_and_keys() {
    let size = |align, mode, sectors, keys| Trailer::new(SLOT, align, mode).unwrap().size(sectors, keys);
    assert_eq!(size(1, SwapMode::Move, 208, false), Some(208 * 3 + 4 * 8 + 16));
    assert_eq!(size(1, SwapMode::Offset, 208, false), Some(208 * 2 + 5 * 8 + 16));
    assert_eq!(size(8, SwapMode::Scratch, 128, true), Some(128 * 3 * 8 + 4 * 8 + 16 + 2 * 16));
    assert_eq!(size(32, SwapMode::Scratch, 128, true), Some(128 * 3 * 32 + 4 * 32 + 32 + 2 * 32));
    assert_eq!(size(32, SwapMode::Move, u32::MAX / 64, false), None);
}

#[test]
fn magic_tells_the_alignment_above_eight() {
    for align in ALIGNS {
        let magic = Trailer::new(SLOT, align, SwapMode::Move).unwrap().magic();
        if align <= 8 {
            assert_eq!(magic, MAGIC_8);
        } else {
            assert_eq!(magic[..2], [u8::try_from(align).unwrap(), 0]);
            assert_eq!(magic[2..], MAGIC_ABOVE);
        }
    }
}

#[test]
fn writes_are_whole_blocks_and_read_back() {
    for (align, mode) in ALIGNS.into_iter().flat_map(|align| MODES.map(|mode| (align, mode))) {
        let t = Trailer::new(SLOT, align, mode).unwrap();
        let mut slot = vec![0xff; SLOT as usize];
        assert_eq!(state(&t, &slot), State::UNSET);
        let mut writes: Vec<TrailerWrite> = t.request(true, 3, 0xff).collect();
        assert_eq!(writes.len(), 3);
        writes.extend([t.write_copy_done(0xff), t.write_swap_size(0x1234_5678, 0xff)]);
        writes.extend(t.write_tlv_sizes(0x1122, 0x3344, 0xff));
        for write in &writes {
            assert!(write.offset().is_multiple_of(align), "{write:?}");
            assert!(!write.bytes().is_empty() && write.bytes().len().is_multiple_of(align as usize));
            apply(&mut slot, write);
        }
        assert_eq!(
            state(&t, &slot),
            State {
                magic: Magic::Good,
                swap_type: SwapType::Perm,
                image: 3,
                copy_done: Flag::Set,
                image_ok: Flag::Set
            }
        );
        assert_eq!(slot[t.swap_size_offset() as usize..][..4], [0x78, 0x56, 0x34, 0x12]);
        if let Some(at) = t.tlv_sizes_offset() {
            assert_eq!(slot[at as usize..][..4], [0x22, 0x11, 0x44, 0x33]);
        }
        assert_eq!(
            slot[..t.swap_size_offset() as usize],
            [0xff; SLOT as usize][..t.swap_size_offset() as usize]
        );
    }
}

#[test]
fn bad_magic_and_flags_are_told_apart_from_unset() {
    let t = Trailer::new(SLOT, 8, SwapMode::Move).unwrap();
    let mut slot = vec![0xff; SLOT as usize];
    slot[SLOT as usize - 1] = 0;
    slot[t.image_ok_offset() as usize] = 3;
    slot[t.copy_done_offset() as usize] = 0;
    slot[t.swap_info_offset() as usize] = 0x25;
    let read = state(&t, &slot);
    assert_eq!((read.magic, read.image_ok, read.copy_done), (Magic::Bad, Flag::Bad, Flag::Bad));
    assert_eq!((read.swap_type, read.image), (SwapType::None, 0));
    assert_eq!(State::parse(&t, &slot[..39], 0xff), None);
    // Flash that erases to zero: all-zero is unset, and a flag of 1 is set.
    let mut zero = vec![0; t.flags_len() as usize];
    assert_eq!(State::parse(&t, &zero, 0), Some(State::UNSET));
    zero[40 - 24] = 1;
    assert_eq!(State::parse(&t, &zero, 0).unwrap().image_ok, Flag::Set);
}

/// The tables of design.md, spelled out for every combination of states.
#[test]
fn swap_type_for_every_combination() {
    let magics = [Magic::Good, Magic::Bad, Magic::Unset];
    let flags = [Flag::Set, Flag::Bad, Flag::Unset];
    let states: Vec<State> = magics
        .into_iter()
        .flat_map(|magic| flags.into_iter().flat_map(move |ok| flags.map(move |done| (magic, ok, done))))
        .map(|(magic, image_ok, copy_done)| State { magic, image_ok, copy_done, ..State::UNSET })
        .collect();
    let mut seen = 0;
    for (p, s) in states.iter().flat_map(|p| states.iter().map(move |s| (p, s))) {
        for mode in MODES {
            let rows = [
                (
                    mode == SwapMode::Offset
                        && s.magic == Magic::Good
                        && s.image_ok == Flag::Unset
                        && s.copy_done == Flag::Set,
                    SwapType::Revert,
                ),
                (s.magic == Magic::Good && s.image_ok == Flag::Unset, SwapType::Test),
                (s.magic == Magic::Good && s.image_ok == Flag::Set, SwapType::Perm),
                (
                    p.magic == Magic::Good && p.image_ok == Flag::Unset && p.copy_done == Flag::Set,
                    SwapType::Revert,
                ),
            ];
            let expected = rows.iter().find(|row| row.0).map_or(SwapType::None, |row| row.1);
            assert_eq!(swap_type(p, s, mode), expected, "{p:?} {s:?} {mode:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 27 * 27 * 4);
}

#[test]
fn refuses_layouts_mcuboot_cannot_have() {
    for (slot, align) in [(SLOT, 0), (SLOT, 3), (SLOT, 64), (SLOT + 4, 1), (SLOT + 8, 16), (40, 8), (160, 32)]
    {
        assert_eq!(Trailer::new(slot, align, SwapMode::Move), None, "{slot} {align}");
    }
}
