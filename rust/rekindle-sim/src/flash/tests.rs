// SPDX-License-Identifier: Apache-2.0
use super::*;

fn chip(write_block: u32) -> NorFlash {
    NorFlash::new(Geometry::even(write_block, 4, 1024), 1)
}

fn rule<T: fmt::Debug>(result: Result<T, FlashError>) -> Rule {
    match result {
        Err(FlashError::Rule(violation)) => violation.rule,
        other => panic!("no rule was broken: {other:?}"),
    }
}

fn content(flash: &mut NorFlash, area: Area, offset: u32, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    flash.peek(area, offset, &mut out).unwrap();
    out
}

#[test]
fn a_block_is_programmed_once_between_erases() {
    for block in [1, 4, 8, 16, 32] {
        let mut flash = chip(block);
        let data = vec![0xFF; block as usize];
        flash.program(Area::Secondary, 64, &data).unwrap();
        // Even 0xFF counts: flash with error correction has programmed its check bits.
        assert_eq!(rule(flash.program(Area::Secondary, 64, &data)), Rule::NotErased);
        flash.program(Area::Secondary, 64 + block, &data).unwrap();
        flash.erase(Area::Secondary, 0, 1024).unwrap();
        flash.program(Area::Secondary, 64, &data).unwrap();
        assert_eq!(flash.violations().len(), 1);
        assert_eq!(flash.operations(), 4, "a refused operation does not count");
    }
}

#[test]
fn unaligned_and_out_of_range_are_refused_and_reported() {
    let mut flash = chip(8);
    assert_eq!(rule(flash.program(Area::Journal, 4, &[0; 8])), Rule::Unaligned);
    assert_eq!(rule(flash.program(Area::Journal, 8, &[0; 7])), Rule::Unaligned);
    assert_eq!(rule(flash.program(Area::Journal, 8, &[])), Rule::Unaligned);
    assert_eq!(rule(flash.program(Area::Journal, 2048, &[0; 8])), Rule::OutOfRange);
    assert_eq!(rule(flash.erase(Area::Primary, 512, 1024)), Rule::Unaligned);
    assert_eq!(rule(flash.erase(Area::Primary, 4096, 1024)), Rule::OutOfRange);
    assert_eq!(rule(flash.read(Area::Primary, u32::MAX, &mut [0; 2])), Rule::OutOfRange);
    assert_eq!(flash.violations().len(), 7);
    assert_eq!(flash.operations(), 0);
}

#[test]
fn areas_are_apart_and_wear_is_counted_by_sector() {
    let mut flash = chip(4);
    flash.program(Area::Primary, 4092, &[1; 4]).unwrap();
    flash.program(Area::Secondary, 0, &[2; 4]).unwrap();
    flash.program(Area::Journal, 0, &[3; 4]).unwrap();
    flash.erase(Area::Secondary, 0, 2048).unwrap();
    flash.erase(Area::Secondary, 1024, 1024).unwrap();
    assert_eq!(content(&mut flash, Area::Primary, 4092, 4), [1; 4]);
    assert_eq!(content(&mut flash, Area::Secondary, 0, 4), [0xFF; 4]);
    assert_eq!(content(&mut flash, Area::Journal, 0, 4), [3; 4]);
    assert_eq!(flash.wear(Area::Secondary), [1, 2, 0, 0]);
    assert_eq!(flash.wear(Area::Primary), [0; 4]);
}

#[test]
fn a_cut_ends_everything_until_power_returns() {
    let mut flash = chip(4);
    flash.plan_cut(1, Tear::After);
    flash.program(Area::Secondary, 0, &[0; 4]).unwrap();
    assert_eq!(flash.program(Area::Secondary, 4, &[0x55; 4]), Err(FlashError::Power));
    assert_eq!(flash.read(Area::Secondary, 0, &mut [0; 4]), Err(FlashError::Power));
    assert_eq!(flash.erase(Area::Secondary, 0, 1024), Err(FlashError::Power));
    flash.power_on();
    assert_eq!(content(&mut flash, Area::Secondary, 0, 8), [0, 0, 0, 0, 0x55, 0x55, 0x55, 0x55]);
    assert!(flash.violations().is_empty());
}

#[test]
fn a_torn_program_only_clears_bits_and_a_torn_erase_only_sets_them() {
    for tear in Tear::ALL {
        let mut flash = chip(4);
        let mut data = vec![0; 256];
        Rng::new(3).fill(&mut data);
        flash.plan_cut(0, tear);
        assert_eq!(flash.program(Area::Secondary, 0, &data), Err(FlashError::Power));
        flash.power_on();
        let left = content(&mut flash, Area::Secondary, 0, 256);
        assert!(left.iter().zip(&data).all(|(got, want)| got & want == *want), "{tear:?}");
        let whole = left == data;
        let blank = left.iter().all(|byte| *byte == 0xFF);
        assert_eq!((blank, whole), (tear == Tear::Before, tear == Tear::After), "{tear:?}");

        let mut flash = chip(4);
        flash.program(Area::Secondary, 0, &data).unwrap();
        flash.plan_cut(1, tear);
        assert_eq!(flash.erase(Area::Secondary, 0, 1024), Err(FlashError::Power));
        flash.power_on();
        let left = content(&mut flash, Area::Secondary, 0, 256);
        assert!(left.iter().zip(&data).all(|(got, had)| got & had == *had), "{tear:?}");
    }
}

#[test]
fn a_torn_block_counts_as_programmed_exactly_when_it_does_not_read_blank() {
    let mut flash = chip(4);
    flash.plan_cut(0, Tear::Prefix);
    assert!(flash.program(Area::Secondary, 0, &[0; 64]).is_err());
    flash.power_on();
    let left = content(&mut flash, Area::Secondary, 0, 64);
    for block in 0..16 {
        let blank = left[block * 4..block * 4 + 4].iter().all(|byte| *byte == 0xFF);
        let again = flash.program(Area::Secondary, block as u32 * 4, &[0; 4]);
        assert_eq!(again.is_ok(), blank);
    }
}

#[test]
fn failures_leave_power_on() {
    let mut flash = chip(4);
    flash.plan_failure(0, Tear::Before);
    flash.plan_read_failure(1);
    assert_eq!(flash.program(Area::Secondary, 0, &[0; 4]), Err(FlashError::Fault));
    flash.program(Area::Secondary, 0, &[0; 4]).unwrap();
    assert!(flash.read(Area::Secondary, 0, &mut [0; 4]).is_ok());
    assert_eq!(flash.read(Area::Secondary, 0, &mut [0; 4]), Err(FlashError::Fault));
    assert!(flash.read(Area::Secondary, 0, &mut [0; 4]).is_ok());
}

#[test]
fn the_same_seed_tears_the_same_way_and_a_clone_is_independent() {
    let torn = |seed| {
        let mut flash = NorFlash::new(Geometry::even(1, 4, 1024), seed);
        flash.plan_cut(0, Tear::Bits);
        assert!(flash.program(Area::Secondary, 0, &[0; 128]).is_err());
        content(&mut flash, Area::Secondary, 0, 128)
    };
    assert_eq!(torn(5), torn(5));
    assert_ne!(torn(5), torn(6));

    let mut flash = chip(1);
    flash.program(Area::Secondary, 0, &[1]).unwrap();
    let mut clone = flash.clone();
    clone.erase(Area::Secondary, 0, 1024).unwrap();
    assert_eq!(content(&mut flash, Area::Secondary, 0, 1), [1]);
    assert_eq!(content(&mut clone, Area::Secondary, 0, 1), [0xFF]);
}

#[test]
fn a_file_keeps_content_rules_and_notes() {
    let path = std::env::temp_dir().join(format!("rekindle-sim-flash-{}", std::process::id()));
    drop(std::fs::remove_file(&path));
    let geometry = Geometry::even(8, 4, 1024);
    let len = geometry.size() + NOTES_LEN as u64;
    {
        let (store, created) = FileStore::open(&path, len).unwrap();
        assert!(created);
        let mut flash = NorFlash::over(store, geometry, 1).unwrap();
        flash.program(Area::Secondary, 8, &[0xA5; 8]).unwrap();
        flash.set_notes(&[7; NOTES_LEN]).unwrap();
    }
    let (store, created) = FileStore::open(&path, len).unwrap();
    assert!(!created);
    let mut flash = NorFlash::over(store, geometry, 1).unwrap();
    let mut out = [0; 24];
    flash.read(Area::Secondary, 0, &mut out).unwrap();
    assert_eq!(out[..8], [0xFF; 8]);
    assert_eq!(out[8..16], [0xA5; 8]);
    assert_eq!(flash.notes().unwrap(), [7; NOTES_LEN]);
    assert_eq!(rule(flash.program(Area::Secondary, 8, &[0; 8])), Rule::NotErased);
    flash.program(Area::Secondary, 0, &[0; 8]).unwrap();
    assert!(FileStore::open(&path, len + 1).is_err());
    std::fs::remove_file(&path).unwrap();
}
