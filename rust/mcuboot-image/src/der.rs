// SPDX-License-Identifier: Apache-2.0
//! ECDSA signatures as TLVs carry them, for whoever brings the arithmetic.

use crate::SIGNATURE_MAX;

/// The two integers of an ECDSA P-256 signature in DER, 32 bytes each, big-endian (RFC 3279, section 2.2.3): the form
/// that PSA's crypto API and accelerators take. `None`: no proper DER of two positive integers that fit.
///
/// Behind it may stand zeros, up to [`SIGNATURE_MAX`] bytes in all: imgtool's `--pad-sig` for MCUboot before 1.5.
#[must_use]
pub fn ecdsa_p256_raw(signature: &[u8]) -> Option<[u8; 64]> {
    let (body, padding) = der_value(signature, 0x30)?;
    if signature.len() > SIGNATURE_MAX || padding.iter().any(|b| *b != 0) {
        return None;
    }
    let (r, rest) = der_value(body, 0x02)?;
    let (s, rest) = der_value(rest, 0x02)?;
    if !rest.is_empty() {
        return None;
    }
    let mut raw = [0; 64];
    let (to_r, to_s) = raw.split_at_mut(32);
    integer(r, to_r)?;
    integer(s, to_s)?;
    Some(raw)
}

/// The value of the DER element with this tag, and what follows it; lengths are below 128.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    match der {
        [found, len @ 0..0x80, rest @ ..] if *found == tag => rest.split_at_checked(usize::from(*len)),
        _ => None,
    }
}

/// Puts a positive integer in its shortest form, big-endian, into 32 bytes.
fn integer(value: &[u8], to: &mut [u8]) -> Option<()> {
    let digits = match value {
        [0, rest @ ..] if rest.first().is_some_and(|b| *b >= 0x80) => rest,
        [0x01..0x80, ..] => value,
        _ => return None,
    };
    if digits.len() > to.len() {
        return None;
    }
    for (to, from) in to.iter_mut().rev().zip(digits.iter().rev()) {
        *to = *from;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_must_be_minimal_and_positive() {
        let good = [0x30, 0x07, 0x02, 0x02, 0x00, 0x80, 0x02, 0x01, 0x05];
        let raw = ecdsa_p256_raw(&good).unwrap();
        assert_eq!((raw[31], raw[63]), (0x80, 5));
        let mut padded = [0; SIGNATURE_MAX + 1];
        padded[..good.len()].copy_from_slice(&good);
        assert_eq!(ecdsa_p256_raw(&padded[..SIGNATURE_MAX]), Some(raw));
        assert_eq!(ecdsa_p256_raw(&padded), None);
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x06, 0x02, 0x01, 0x80, 0x02, 0x01, 0x05], // negative
            &[0x30, 0x07, 0x02, 0x02, 0x00, 0x7f, 0x02, 0x01, 0x05], // not minimal
            &[0x30, 0x05, 0x02, 0x00, 0x02, 0x01, 0x05],       // no digits
            &[0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x05], // zero
            &[0x30, 0x08, 0x02, 0x02, 0x00, 0x80, 0x02, 0x01, 0x05, 0x00], // rest inside
            &[0x30, 0x07, 0x02, 0x02, 0x00, 0x80, 0x02, 0x01, 0x05, 0x01], // padding that is not zero
            &[0x30, 0x81, 0x07, 0x02, 0x02, 0x00, 0x80, 0x02, 0x01, 0x05], // long form of a short length
            &[0x31, 0x07, 0x02, 0x02, 0x00, 0x80, 0x02, 0x01, 0x05], // another tag
            &[0x30, 0x07, 0x03, 0x02, 0x00, 0x80, 0x02, 0x01, 0x05], // another tag inside
        ] {
            assert_eq!(ecdsa_p256_raw(bad), None, "{bad:02x?}");
        }
    }

    #[test]
    fn der_integers_fit_into_32_bytes() {
        let mut long = [1; 41];
        long[..4].copy_from_slice(&[0x30, 39, 0x02, 33]);
        long[37..40].copy_from_slice(&[0x02, 0x02, 0x01]);
        assert_eq!(ecdsa_p256_raw(&long), None);
        // 33 bytes are right when the first is the zero that keeps the number positive.
        long[4] = 0;
        long[5] = 0x80;
        assert!(ecdsa_p256_raw(&long).is_some());
    }
}
