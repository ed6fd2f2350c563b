// SPDX-License-Identifier: Apache-2.0
//! What must hold for any bytes whatever. The fuzz targets, the replay of their corpus and the property tests all call
//! these functions, so that a finding of one is a test of the others.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken property panics; each user calls a part of them"
)]

use mcuboot_image::key::PublicKey;
use mcuboot_image::sign::{SignOptions, SigningKey, sign};
use mcuboot_image::slot::{Geometry, SwapMode};
use mcuboot_image::trailer::{State, Trailer};
use mcuboot_image::{Dependency, Header, Image, ImageError, ImageVersion, Scan, Step, Summary, tlv};
use std::sync::OnceLock;

/// Scans `bytes` and checks what every scan must keep to; tells how many bytes it was fed as well.
pub fn scan(bytes: &[u8]) -> (Result<Summary, ImageError>, u64) {
    let limit = u32::try_from(bytes.len()).unwrap();
    let mut scan = Scan::new(limit);
    let (mut fed, mut floor, mut steps) = (0, 0, 0);
    while let Step::Read { offset, len } = scan.step() {
        assert!((1..=u32::try_from(Scan::READ_MAX).unwrap()).contains(&len), "asks for {len} bytes");
        assert!(offset >= floor, "goes back to {offset}");
        assert!(u64::from(offset) + u64::from(len) <= u64::from(limit), "reads beyond {limit}");
        floor = offset + len;
        fed += u64::from(len);
        steps += 1;
        // Two areas of at most 65535 bytes, each record at least four bytes with at most two steps.
        assert!(steps <= 3 + 2 * 2 * 16_384, "does not end");
        let at = usize::try_from(offset).unwrap();
        let result = scan.feed(&bytes[at..at + usize::try_from(len).unwrap()]);
        assert_eq!(result.is_err() && scan.finish() == Err(result.unwrap_err()), result.is_err());
    }
    assert_eq!(scan.summary().copied(), scan.finish().ok());
    (scan.finish(), fed)
}

/// The end of the image by a walk that is written as MCUboot's is: protected area, plain area, no record beyond its own.
fn reference_end(bytes: &[u8]) -> Option<usize> {
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let header = Header::parse(bytes).ok()?;
    let protected = usize::from(header.protected_size);
    let mut at = usize::from(header.header_size) + usize::try_from(header.image_size).ok()?;
    if protected != 0 {
        (half(at)? == 0x6908 && half(at + 2)? == protected).then_some(())?;
    }
    let mut starts = vec![at + protected];
    starts.extend((protected != 0).then_some(at));
    let end = at + protected + half(at + protected + 2)?;
    (half(at + protected)? == 0x6907 && end <= bytes.len()).then_some(())?;
    for (start, stop) in starts.into_iter().zip([end, at + protected]) {
        at = start + 4;
        while at < stop {
            at += 4 + half(at + 2)?;
        }
        (at == stop).then_some(())?;
    }
    Some(end)
}

/// Any bytes: the scan keeps to its bounds, agrees with the reference, and what follows from a summary holds.
pub fn check_scan(bytes: &[u8]) {
    let (result, _) = scan(bytes);
    let image = Image::parse(bytes);
    assert_eq!(image.as_ref().map(|image| *image.summary()).map_err(|e| *e), result);
    let Ok(image) = image else {
        assert!(!result.unwrap_err().to_string().is_empty());
        return;
    };
    let summary = image.summary();
    let total = usize::try_from(summary.total_len).unwrap();
    assert_eq!(Some(total), reference_end(bytes), "ends where MCUboot would end it");
    assert!(summary.hashed_len < summary.total_len && total <= bytes.len());
    assert_eq!(image.bytes().len() + image.trailing().len(), bytes.len());
    assert_eq!(Image::parse_exact(bytes).is_ok(), total == bytes.len());

    let mut end = summary.hashed_len + 4;
    for record in image.tlvs() {
        assert_eq!(record.protected, record.offset < summary.hashed_len);
        end = record.offset + 4 + u32::try_from(record.value.len()).unwrap();
    }
    assert_eq!(end, summary.total_len, "the records reach to the end");
    let hashes: Vec<_> = image.tlvs().filter(|t| t.kind == tlv::SHA256).collect();
    assert!(matches!(hashes[..], [hash] if hash.value == summary.image_hash));
    if let Some(signature) = summary.signature {
        let at = usize::try_from(signature.offset).unwrap();
        let value = &bytes[at..at + usize::from(signature.len)];
        assert!(image.tlvs().any(|t| t.offset + 4 == signature.offset && t.value == value));
    }
    assert_eq!(image.dependencies().count().min(255), usize::from(summary.dependencies));
    // What this crate reads and what the scan says is the whole of it: nothing behind it matters.
    assert_eq!(Image::parse(image.bytes()).map(|again| *again.summary()), Ok(*summary));
    let _ = (image.verify_hash(), image.verify(&signer().public_key()));
}

fn signer() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::from_pem(include_str!("../keys/ed25519.pem")).unwrap())
}

/// Reads numbers from a fuzzer's bytes; zeros when they are used up.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn word(&mut self) -> u32 {
        u32::from(self.half()) | u32::from(self.half()) << 16
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.half()) % n.max(1)
    }
}

/// A valid signed image drawn from the source: few bytes of body, many kinds of TLVs.
fn draw_image(source: &mut Source<'_>) -> Vec<u8> {
    let bits = source.byte();
    let on = |bit: u8| bits & (1 << bit) != 0;
    let version = ImageVersion::new(source.byte(), source.byte(), source.half(), source.word());
    let mut options = SignOptions::new(version, 32 + u16::from(source.byte()));
    options.pad_header = true;
    options.security_counter = on(0).then(|| source.word());
    options.vendor = on(1).then_some([0x11; 16]);
    options.class = on(2).then_some([0x22; 16]);
    if on(3) {
        options.dependencies.push(Dependency { image: source.byte(), min_version: version });
    }
    if on(4) {
        options.custom.push((0x00a0 + u16::from(source.byte()), vec![0x33; source.below(70)]));
    }
    options.load_addr = if on(5) { source.word() } else { 0 };
    let body = vec![source.byte(); 1 + source.below(80)];
    sign(&body, &options, signer()).unwrap()
}

/// One change to the image's bytes, of a kind that a fault or an attacker makes.
fn mutate(image: &mut Vec<u8>, source: &mut Source<'_>) {
    let hashed =
        Image::parse(image).map_or(image.len(), |i| usize::try_from(i.summary().hashed_len).unwrap());
    let heads: Vec<usize> = Image::parse(image)
        .map_or(vec![], |i| i.tlvs().map(|t| usize::try_from(t.offset).unwrap()).collect());
    let at = source.below(image.len());
    match source.byte() % 9 {
        0 => image[at] ^= 1 << (source.byte() % 8),
        1 => image[at] = source.byte(),
        2 => image.truncate(at),
        // A field of the header: load address, sizes, flags, version.
        3 if image.len() >= 32 => {
            let (field, value) = (4 * source.below(8), source.word().to_le_bytes());
            image[field..field + 4].copy_from_slice(&value);
        }
        // A type or a length of a TLV.
        4 if !heads.is_empty() => {
            let at = heads[source.below(heads.len())] + 2 * source.below(2);
            let value = source.half().to_le_bytes();
            image[at..at + 2].copy_from_slice(&value);
        }
        // The length of the plain area.
        5 if hashed + 4 <= image.len() => {
            let value = source.half().to_le_bytes();
            image[hashed + 2..hashed + 4].copy_from_slice(&value);
        }
        // A record more in the plain area, with the area's length put right.
        6 if hashed + 4 <= image.len() => {
            let len = source.below(40);
            let kind = source.half();
            let head = [kind.to_le_bytes(), u16::try_from(len).unwrap().to_le_bytes()].concat();
            let record = [head, vec![source.byte(); len]].concat();
            let places: Vec<usize> =
                heads.iter().copied().filter(|h| *h > hashed).chain([image.len()]).collect();
            let place = places[source.below(places.len())];
            let total = u16::from_le_bytes([image[hashed + 2], image[hashed + 3]]);
            let total = total.wrapping_add(u16::try_from(record.len()).unwrap());
            image[hashed + 2..hashed + 4].copy_from_slice(&total.to_le_bytes());
            image.splice(place..place, record);
        }
        // Bytes that follow, or are missing in the middle.
        7 => image.extend(vec![source.byte(); 1 + source.below(8)]),
        8 => drop(image.drain(at..(at + source.below(8)).min(image.len()))),
        _ => image[at] = !image[at],
    }
}

/// A valid image, changed: it is refused, or the change is one that neither hash nor signature need to notice.
pub fn check_mutated(bytes: &[u8]) {
    let mut source = Source(bytes);
    let original = draw_image(&mut source);
    check_scan(&original);
    let signed = Image::parse_exact(&original).unwrap();
    let key = signer().public_key();
    assert_eq!(signed.verify(&key), Ok(()));

    let mut image = original.clone();
    for _ in 0..1 + source.byte() % 3 {
        if image.is_empty() {
            break;
        }
        mutate(&mut image, &mut source);
    }
    check_scan(&image);
    let Ok(parsed) = Image::parse_exact(&image) else { return };
    if parsed.verify_hash().is_err() {
        assert_ne!(parsed.verify(&key), Ok(()));
        return;
    }
    // The hash is right: then all that it covers, or the hash with it, is as it was.
    let covered =
        |image: &Image<'_>| image.bytes()[..usize::try_from(image.summary().hashed_len).unwrap()].to_vec();
    assert!(covered(&parsed) == covered(&signed), "changed where the hash covers it");
    if parsed.verify(&key).is_ok() {
        let signature =
            |image: &Image<'_>| image.tlvs().find(|t| t.kind == tlv::ED25519).unwrap().value.to_vec();
        let theirs: Vec<_> =
            parsed.tlvs().filter(|t| t.kind == tlv::ED25519).map(|t| t.value.to_vec()).collect();
        assert!(theirs.contains(&signature(&signed)), "another signature over the same hash");
    }
}

/// Any layout, any bytes at the end of a slot.
pub fn check_trailer(bytes: &[u8]) {
    let mut source = Source(bytes);
    let mode = [SwapMode::Move, SwapMode::Offset, SwapMode::Scratch, SwapMode::Overwrite][source.below(4)];
    let write_block = if source.byte() & 1 == 0 { 1 << (source.byte() % 6) } else { source.word() };
    let geometry = Geometry {
        mode,
        primary_size: source.word(),
        secondary_size: source.word(),
        sector_size: source.word(),
        write_block,
        max_sectors: source.word(),
        encryption: source.byte() & 1 == 0,
    };
    if let Some(max) = geometry.image_max() {
        assert!(max < geometry.primary_size.min(geometry.secondary_size));
        let room = geometry.secondary_size - geometry.image_offset();
        assert!(mode == SwapMode::Overwrite || max < room);
    }
    let Some(trailer) = Trailer::new(geometry.primary_size, write_block, mode) else { return };
    let erased = source.byte();
    let tail = vec![erased; usize::try_from(trailer.flags_len()).unwrap()];
    assert_eq!(State::parse(&trailer, &tail, erased), Some(State::UNSET));
    let tail: Vec<u8> = tail.iter().map(|_| source.byte()).collect();
    let state = State::parse(&trailer, &tail, erased).unwrap();
    let _ = mcuboot_image::trailer::swap_type(&state, &State::UNSET, mode);
    assert!(trailer.swap_size_offset() < trailer.swap_info_offset());
    for write in trailer.request(true, source.byte() % 15, erased) {
        assert!(write.offset() + u32::try_from(write.bytes().len()).unwrap() <= geometry.primary_size);
        assert!(write.offset().is_multiple_of(write_block));
    }
}

/// Any bytes as key, as signature and as PEM file.
pub fn check_key(bytes: &[u8]) {
    let mut source = Source(bytes);
    let (kind, signature_len) = (source.byte(), usize::from(source.byte()));
    let (signature, rest) = source.0.split_at(signature_len.min(source.0.len()));
    let ours = match kind % 2 {
        0 => signer().public_key(),
        _ => PublicKey::from_pem(include_str!("../keys/p256-pub.pem")).unwrap(),
    };
    assert!(ours.verify(&[0x5a; 32], signature).is_err(), "a signature that nobody made");
    if let Ok(key) = PublicKey::from_spki_der(rest) {
        assert_eq!(key.to_spki_der(), rest, "a second form of the same key");
        let _ = key.verify(&[0x5a; 32], signature);
    }
    if let Ok(text) = core::str::from_utf8(rest) {
        let _ = PublicKey::from_pem(text);
        if let Ok(key) = SigningKey::from_pem(text) {
            assert_eq!(SigningKey::from_pem(&key.to_pem().unwrap()).unwrap().public_key(), key.public_key());
        }
    }
}
