// SPDX-License-Identifier: Apache-2.0
//! Bytes of the controller's operations on the wire, version 1 of the extension.
//!
//! APPEND ONLY, as `golden_v1.rs`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use fusain::relay::{Campaign, CampaignFlags, Cause, Relay, RosterEntry, RosterOutcome, Stage, Stored};
use fusain::*;

const DIGEST: [u8; 32] = [0x5A; 32];
const DIGEST_HEX: &str = "58205a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const VERSION: Version = Version { major: 1, minor: 2, revision: 300, build: 70_000 };
const VERSION_HEX: &str = "84 01 02 19012c 1a00011170";
const HEAD: &str = "8218 46";

#[track_caller]
fn golden(operation: Relay, hex: &str) {
    let hex: String = format!("{HEAD} {hex}")
        .replace("{M}", "00 1a524b4e44 0101")
        .replace("{D}", DIGEST_HEX)
        .replace("{V}", VERSION_HEX)
        .chars()
        .filter(|c| *c != ' ')
        .collect();
    let mut out = [0; PAYLOAD_MAX];
    let length = operation.encode(&mut out).unwrap();
    let written: String = out[..length].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, hex);
    assert_eq!(Relay::decode(&out[..length]), Ok(operation));
    // Who knows devices only takes it for somebody else's.
    assert!(matches!(Extension::decode(&out[..length]), Ok(Extension::Other { .. })));
    assert_eq!(ExtensionRequest::decode(&out[..length]), Ok(ExtensionRequest::Other));
}

#[test]
fn roster() {
    golden(Relay::RosterRequest { index: 0 }, "a3 {M} 0210");
    golden(Relay::RosterRequest { index: 7 }, "a4 {M} 0210 0307");
    golden(Relay::Roster { index: 2, total: 2, entry: None }, "a5 {M} 0211 0302 0402");
    let entry = RosterEntry {
        address: Address::new(0xAABB_CCDD_EEFF_0011),
        link: 1,
        stage: Stage::Transferring,
        outcome: RosterOutcome::Reverted,
        cause: Cause::Silent,
        offset: 63_728,
        version: Some(VERSION),
        image_hash: Some(DIGEST),
    };
    golden(
        Relay::Roster { index: 1, total: 2, entry: Some(entry) },
        "ad {M} 0211 0301 0402 051baabbccddeeff0011 0601 0703 0804 0901 0a19f8f0 0b{V} 0c{D}",
    );
}

#[test]
fn campaign() {
    golden(Relay::CampaignRequest, "a3 {M} 0212");
    golden(
        Relay::Campaign(Campaign {
            stored: Stored::Approved,
            offset: 127_456,
            size: 127_456,
            digest: Some(DIGEST),
            flags: CampaignFlags::ROOT_MODE.with(CampaignFlags::UNSIGNED, true),
            appliances: 5,
            open: 2,
            version: Some(VERSION),
        }),
        "ab {M} 0213 0303 041a0001f1e0 051a0001f1e0 06{D} 0709 0805 0902 0a{V}",
    );
    let address = Address::new(0xAABB_CCDD_EEFF_0011);
    golden(
        Relay::CampaignAdd { address, size: 127_456, digest: DIGEST, mode: Mode::Permanent },
        "a7 {M} 0214 031baabbccddeeff0011 041a0001f1e0 05{D} 0601",
    );
    golden(Relay::CampaignCancel { address: None }, "a3 {M} 0215");
    golden(Relay::CampaignCancel { address: Some(address) }, "a4 {M} 0215 031baabbccddeeff0011");
}

#[test]
fn the_longest_entry_fits_a_frame() {
    let entry = RosterEntry {
        address: Address::STATELESS,
        link: u8::MAX,
        stage: Stage::Settled,
        outcome: RosterOutcome::Cancelled,
        cause: Cause::StoreFailed,
        offset: u32::MAX,
        version: Some(Version { major: 255, minor: 255, revision: u16::MAX, build: u32::MAX }),
        image_hash: Some([0x7E; 32]),
    };
    let operation = Relay::Roster { index: 255, total: 255, entry: Some(entry) };
    let mut out = [0; PAYLOAD_MAX];
    let length = operation.encode(&mut out).unwrap();
    assert!(length <= PAYLOAD_MAX, "{length}");
    assert_eq!(Relay::decode(&out[..length]), Ok(operation));
}

#[test]
fn what_is_not_ours_is_ignored_and_what_is_broken_refused() {
    let mut out = [0; PAYLOAD_MAX];
    let length = Extension::InfoRequest.encode(&mut out).unwrap();
    assert_eq!(Relay::decode(&out[..length]), Ok(Relay::Other));
    // CAMPAIGN_ADD without an address.
    let payload = [0x82, 0x18, 0x46, 0xA3, 0, 0x1A, 0x52, 0x4B, 0x4E, 0x44, 1, 1, 2, 0x14];
    let refused = DecodeError::Field { code: 0x46, field: 3, constraint: Constraint::FieldRequired };
    assert_eq!(Relay::decode(&payload), Err(refused));
    assert_eq!(Relay::decode(&[0x82, 0x18, 0x46, 0x01]), Ok(Relay::Other));
    // Another version's numbers mean something else.
    let payload = [0x82, 0x18, 0x46, 0xA3, 0, 0x1A, 0x52, 0x4B, 0x4E, 0x44, 1, 2, 2, 0x15];
    assert_eq!(Relay::decode(&payload), Ok(Relay::Other));
    assert!(Relay::decode(&[0x82, 0x18, 0x45, 0xF6]).is_err());
}
