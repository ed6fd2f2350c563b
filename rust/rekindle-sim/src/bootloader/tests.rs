// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::flash::{AREAS, Tear};
use crate::image::{Recipe, digest};

const MODES: [SwapMode; 2] = [SwapMode::Offset, SwapMode::Move];
const BLOCKS: [u32; 5] = [1, 4, 8, 16, 32];

struct Bench {
    boot: Bootloader,
    flash: NorFlash,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Bench {
    /// `old` runs, `new` is in the secondary slot as an update leaves it, without a request.
    fn new(mode: SwapMode, block: u32, old_len: usize, new_len: usize) -> Self {
        let boot = Bootloader::new(mode);
        let mut flash = NorFlash::new(Geometry::even(block, 8, 1024), 11);
        let old = Recipe::sized((1, 0, 0, 0), old_len, 1).build();
        let new = Recipe::sized((2, 0, 0, 0), new_len, 2).build();
        boot.install(&mut flash, &old, true).unwrap();
        let mut bench = Self { boot, flash, old, new };
        bench.stage();
        bench
    }

    fn stage(&mut self) {
        let at = self.boot.layout(self.flash.geometry()).image_offset;
        for sector in 0..8 {
            self.flash.erase(Area::Secondary, sector * 1024, 1024).unwrap();
        }
        self.flash.install(Area::Secondary, at, &self.new).unwrap();
    }

    fn boot(&mut self) -> Booted {
        self.boot.boot(&mut self.flash).unwrap()
    }

    /// Boots until it comes through; `cut` says where power goes once.
    fn boot_cut(&mut self, cut: u64, tear: Tear) -> Booted {
        self.flash.plan_cut(cut, tear);
        loop {
            match self.boot.boot(&mut self.flash) {
                Ok(booted) => return booted,
                Err(FlashError::Power) => {
                    self.flash.clear_plans();
                    self.flash.power_on();
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn primary(&mut self) -> [u8; 32] {
        self.boot.primary(&mut self.flash).unwrap().expect("a running image").hash
    }

    fn state(&mut self, area: Area) -> State {
        self.boot.state(&mut self.flash, area).unwrap()
    }

    fn dump(&mut self) -> Vec<Vec<u8>> {
        AREAS
            .iter()
            .map(|area| {
                let size = self.flash.geometry().region(*area).size();
                image::load(&mut self.flash, *area, 0, size).unwrap()
            })
            .collect()
    }
}

fn hash(image: &[u8]) -> [u8; 32] {
    digest(&image[..image.len() - 40])
}

fn finished(swap_type: SwapType, image_ok: Flag) -> State {
    State { magic: Magic::Good, swap_type, image: 0, copy_done: Flag::Set, image_ok }
}

#[test]
fn test_confirm_and_revert_in_every_mode_and_write_block() {
    for mode in MODES {
        for block in BLOCKS {
            for (old_len, new_len) in [(3000, 4100), (4096, 1024), (1025, 5120), (200, 333)] {
                let mut bench = Bench::new(mode, block, old_len, new_len);
                let (old, new) = (hash(&bench.old), hash(&bench.new));
                assert_eq!(bench.boot().swapped, None, "nothing was asked for");
                bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
                assert_eq!(bench.boot.swap_type(&mut bench.flash).unwrap(), SwapType::Test);

                let booted = bench.boot();
                assert_eq!(booted.swapped, Some(SwapType::Test));
                assert_eq!(bench.primary(), new);
                assert_eq!(bench.state(Area::Primary), finished(SwapType::Test, Flag::Unset));
                assert_eq!(bench.state(Area::Secondary), State::UNSET);
                assert_eq!(bench.boot.backup(&mut bench.flash).unwrap().unwrap().hash, old);
                assert!(!bench.boot.is_confirmed(&mut bench.flash).unwrap());
                assert_eq!(bench.boot.swap_type(&mut bench.flash).unwrap(), SwapType::Revert);

                let mut confirmed = bench.boot.clone();
                let mut flash = bench.flash.clone();
                confirmed.confirm(&mut flash).unwrap();
                assert!(confirmed.is_confirmed(&mut flash).unwrap());
                assert_eq!(confirmed.boot(&mut flash).unwrap().running.unwrap().hash, new);
                confirmed.validate_primary = false;
                assert_eq!(confirmed.boot(&mut flash).unwrap().swapped, None);

                let booted = bench.boot();
                assert_eq!(booted.swapped, Some(SwapType::Revert));
                assert_eq!(bench.primary(), old);
                assert_eq!(bench.state(Area::Primary), finished(SwapType::Revert, Flag::Set));
                assert_eq!(bench.state(Area::Secondary), State::UNSET);
                assert_eq!(bench.boot.staged(&mut bench.flash).unwrap().unwrap().hash, new);
                assert_eq!(bench.boot().swapped, None);
                assert!(bench.flash.violations().is_empty(), "{:?}", bench.flash.violations());
            }
        }
    }
}

#[test]
fn a_permanent_upgrade_is_confirmed_by_the_bootloader() {
    for mode in MODES {
        let mut bench = Bench::new(mode, 8, 3000, 2000);
        bench.boot.request_upgrade(&mut bench.flash, true).unwrap();
        assert_eq!(bench.boot().swapped, Some(SwapType::Perm));
        assert_eq!(bench.primary(), hash(&bench.new));
        assert_eq!(bench.state(Area::Primary), finished(SwapType::Perm, Flag::Set));
        assert!(bench.boot.is_confirmed(&mut bench.flash).unwrap());
        assert_eq!(bench.boot().swapped, None);
    }
}

/// Runs one boot of `prepared`, then the same boot with power cut at each of its operations in every way.
fn cut_everywhere(prepared: &Bench, mut check: impl FnMut(&mut Bench, Tear, u64)) -> u64 {
    let copy = || Bench {
        boot: prepared.boot.clone(),
        flash: prepared.flash.clone(),
        old: prepared.old.clone(),
        new: prepared.new.clone(),
    };
    let first = prepared.flash.operations();
    let mut whole = copy();
    whole.boot();
    let last = whole.flash.operations();
    for cut in first..last {
        for tear in Tear::ALL {
            let mut bench = copy();
            bench.boot_cut(cut, tear);
            assert!(
                bench.flash.violations().is_empty(),
                "cut {cut} {tear:?}: {:?}",
                bench.flash.violations()
            );
            check(&mut bench, tear, cut);
        }
    }
    last - first
}

#[test]
fn swap_and_revert_survive_a_cut_at_every_operation() {
    let mut cuts = 0;
    for mode in MODES {
        for block in [1, 8, 32] {
            let mut bench = Bench::new(mode, block, 3000, 4100);
            bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
            let (old, new) = (hash(&bench.old), hash(&bench.new));
            let mut whole = Bench { flash: bench.flash.clone(), ..Bench::new(mode, block, 3000, 4100) };
            whole.boot();
            let expected = whole.dump();
            cuts += cut_everywhere(&bench, |bench, tear, cut| {
                assert_eq!(bench.primary(), new, "cut {cut} {tear:?}");
                assert_eq!(bench.boot.backup(&mut bench.flash).unwrap().unwrap().hash, old);
                if matches!(tear, Tear::Before | Tear::After) {
                    assert_eq!(bench.dump(), expected, "cut {cut} {tear:?}");
                }
            });
            cuts += cut_everywhere(&whole, |bench, tear, cut| {
                assert_eq!(bench.primary(), old, "cut {cut} {tear:?}");
                assert_eq!(bench.boot().swapped, None, "cut {cut} {tear:?}");
            });
        }
    }
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_torn_copy_done_leaves_an_image_that_is_neither_confirmed_nor_reverted() {
    // MCUboot's own gap, and what an update session has to live with (swap_status_source: only an erased copy_done
    // counts as a swap under way).
    let mut found = false;
    let mut bench = Bench::new(SwapMode::Offset, 1, 3000, 4100);
    bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
    cut_everywhere(&bench, |bench, tear, _| {
        if bench.state(Area::Primary).copy_done == Flag::Bad {
            assert_eq!(tear, Tear::Bits);
            assert!(!bench.boot.is_confirmed(&mut bench.flash).unwrap());
            assert_eq!(bench.boot.swap_type(&mut bench.flash).unwrap(), SwapType::None);
            found = true;
        }
    });
    assert!(found);
}

#[test]
fn an_image_with_a_wrong_hash_or_signature_is_erased() {
    for mode in MODES {
        for minimal_scramble in [false, true] {
            let mut bench = Bench::new(mode, 4, 3000, 3000);
            bench.boot.minimal_scramble = minimal_scramble;
            bench.boot.signature = Some(Judge::new(|_, tlvs| tlvs.iter().any(|(kind, _)| *kind == 0x22)));
            bench.boot.validate_primary = false;
            bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
            assert_eq!(bench.boot().refused, Some(Refusal::Invalid));
            assert_eq!(bench.state(Area::Secondary), State::UNSET);
            let at = bench.boot.layout(bench.flash.geometry()).image_offset;
            assert_eq!(image::header(&mut bench.flash, Area::Secondary, at).unwrap(), Header::Erased);
            assert_eq!(bench.primary(), hash(&bench.old));
            assert_eq!(bench.boot().refused, None);
        }
    }
}

#[test]
fn a_refusal_that_is_cut_short_is_finished_later() {
    for mode in MODES {
        let mut bench = Bench::new(mode, 4, 3000, 3000);
        let broken = bench.new.len() - 100;
        bench.new[broken] ^= 4;
        bench.stage();
        bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
        let old = hash(&bench.old);
        cut_everywhere(&bench, |bench, tear, cut| {
            assert_eq!(bench.primary(), old, "cut {cut} {tear:?}");
            bench.boot();
            assert_eq!(bench.boot().refused, None);
            assert_ne!(bench.state(Area::Secondary).magic, Magic::Good, "cut {cut} {tear:?}");
        });
    }
}

#[test]
fn a_finished_swap_by_offset_stands_in_the_way_of_the_next_upgrade() {
    let mut bench = Bench::new(SwapMode::Offset, 1, 3000, 3000);
    bench.boot.request_upgrade(&mut bench.flash, true).unwrap();
    bench.boot();
    // The next image goes to the second sector, but nobody erases the first.
    let next = Recipe::sized((3, 0, 0, 0), 2500, 3).build();
    for sector in 1..8 {
        bench.flash.erase(Area::Secondary, sector * 1024, 1024).unwrap();
    }
    bench.flash.install(Area::Secondary, 1024, &next).unwrap();
    bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
    assert_eq!(bench.boot().refused, Some(Refusal::WrongSector));
    assert_eq!(bench.primary(), hash(&bench.new));
    // With it erased, it is taken.
    bench.new = next;
    bench.stage();
    bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
    assert_eq!(bench.boot().swapped, Some(SwapType::Test));
}

#[test]
fn writing_the_secondary_slot_before_a_confirmation_bricks_under_swap_by_offset() {
    let mut bench = Bench::new(SwapMode::Offset, 1, 3000, 3000);
    bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
    bench.boot();
    bench.new = Recipe::sized((3, 0, 0, 0), 2500, 3).build();
    bench.stage();
    assert_eq!(bench.boot().running, None);
}

#[test]
fn a_request_torn_in_its_magic_needs_an_erased_trailer() {
    let mut bench = Bench::new(SwapMode::Offset, 4, 3000, 3000);
    let before = bench.flash.clone();
    for tear in Tear::ALL {
        bench.flash = before.clone();
        bench.flash.plan_cut(before.operations(), tear);
        assert_eq!(
            bench.boot.request_upgrade(&mut bench.flash, false),
            Err(RequestError::Flash(FlashError::Power))
        );
        bench.flash.power_on();
        bench.flash.clear_plans();
        let again = bench.boot.request_upgrade(&mut bench.flash, false);
        match tear {
            Tear::Before | Tear::After => assert_eq!(again, Ok(())),
            Tear::Prefix | Tear::Subset | Tear::Bits => assert_eq!(again, Err(RequestError::BadMagic)),
        }
    }
}

#[test]
fn an_image_without_a_trailer_counts_as_confirmed() {
    let mut bench = Bench::new(SwapMode::Offset, 4, 3000, 3000);
    bench.flash = NorFlash::new(Geometry::even(4, 8, 1024), 3);
    let old = bench.old.clone();
    bench.boot.install(&mut bench.flash, &old, false).unwrap();
    assert!(bench.boot.is_confirmed(&mut bench.flash).unwrap());
    let before = bench.flash.operations();
    bench.boot.confirm(&mut bench.flash).unwrap();
    assert_eq!(bench.flash.operations(), before);
    assert_eq!(bench.boot().running.unwrap().hash, hash(&old));
}

#[test]
fn the_longest_image_is_swapped_and_swapped_back() {
    for mode in MODES {
        for block in BLOCKS {
            let probe = Bench::new(mode, block, 3000, 3000);
            let max = probe.boot.layout(probe.flash.geometry()).image_max as usize;
            let mut bench = Bench::new(mode, block, max, max);
            bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
            assert_eq!(bench.boot().swapped, Some(SwapType::Test), "{mode:?} {block}");
            assert_eq!(bench.primary(), hash(&bench.new));
            assert_eq!(bench.boot().swapped, Some(SwapType::Revert), "{mode:?} {block}");
            assert_eq!(bench.primary(), hash(&bench.old));
        }
    }
}

#[test]
fn only_the_trusted_key_signs_what_is_swapped_in() {
    use mcuboot_image::ImageVersion;
    use mcuboot_image::sign::{SignOptions, SigningKey, sign};

    let version = ImageVersion { major: 2, minor: 0, revision: 0, build: 0 };
    let mut options = SignOptions::new(version, 32);
    options.pad_header = true;
    for (ours, theirs) in [
        (SigningKey::generate_p256().unwrap(), SigningKey::generate_p256().unwrap()),
        (SigningKey::generate_ed25519().unwrap(), SigningKey::generate_p256().unwrap()),
        (SigningKey::generate_ed25519().unwrap(), SigningKey::generate_ed25519().unwrap()),
    ] {
        for (key, taken) in [(&ours, true), (&theirs, false)] {
            let mut bench = Bench::new(SwapMode::Offset, 8, 3000, 3000);
            bench.boot.validate_primary = false;
            bench.boot.signature = Some(Judge::key(ours.public_key()));
            bench.new = sign(&[0x5A; 2345], &options, key).unwrap();
            bench.stage();
            bench.boot.request_upgrade(&mut bench.flash, false).unwrap();
            let booted = bench.boot();
            assert_eq!(booted.swapped, taken.then_some(SwapType::Test));
            assert_eq!(booted.refused, (!taken).then_some(Refusal::Invalid));
        }
    }
}
