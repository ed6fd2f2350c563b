// SPDX-License-Identifier: Apache-2.0
//! The types that fields have, and how each goes to and from CBOR (PROTOCOL.md §3.2).

use crate::address::Address;
use crate::cbor::{Head, Walk, Writer, major};
use crate::error::Constraint;
use crate::fields::Value;

/// Reads the head of an item of a definite length or value.
fn definite(walk: &mut Walk<'_>) -> Result<Head, Constraint> {
    walk.head().filter(|head| !head.indefinite()).ok_or(Constraint::TypeMismatch)
}

impl Value<'_> for u64 {
    fn read(walk: &mut Walk<'_>) -> Result<Self, Constraint> {
        match definite(walk)? {
            Head { major: major::UNSIGNED, argument, .. } => Ok(argument),
            _ => Err(Constraint::TypeMismatch),
        }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.item(major::UNSIGNED, *self);
    }
}

/// Narrower unsigned integers; what does not fit is too high, not of another type.
macro_rules! narrow {
    ($($number:ty),*) => { $(
        impl Value<'_> for $number {
            fn read(walk: &mut Walk<'_>) -> Result<Self, Constraint> {
                Self::try_from(u64::read(walk)?).map_err(|_| Constraint::ValueTooHigh)
            }

            fn write(&self, writer: &mut Writer<'_>) {
                u64::from(*self).write(writer);
            }
        }
    )* };
}
narrow!(u8, u16, u32);

impl Value<'_> for i32 {
    fn read(walk: &mut Walk<'_>) -> Result<Self, Constraint> {
        let head = definite(walk)?;
        let number = Self::try_from(head.argument);
        match head.major {
            major::UNSIGNED => number.map_err(|_| Constraint::ValueTooHigh),
            major::NEGATIVE => number.map(|number| -1 - number).map_err(|_| Constraint::ValueTooLow),
            _ => Err(Constraint::TypeMismatch),
        }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        match u32::try_from(*self) {
            Ok(number) => writer.item(major::UNSIGNED, u64::from(number)),
            // The argument of a negative number n is -1 - n, which is what inverting its bits gives.
            Err(_) => writer.item(major::NEGATIVE, u64::from((!*self).unsigned_abs())),
        }
    }
}

impl Value<'_> for bool {
    fn read(walk: &mut Walk<'_>) -> Result<Self, Constraint> {
        match walk.byte() {
            Some(0xF4) => Ok(false),
            Some(0xF5) => Ok(true),
            _ => Err(Constraint::TypeMismatch),
        }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.item(major::SIMPLE, 20 + u64::from(*self));
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read(walk: &mut Walk<'a>) -> Result<Self, Constraint> {
        match definite(walk)? {
            Head { major: major::BYTES, argument, .. } => walk.bytes(argument),
            _ => None,
        }
        .ok_or(Constraint::TypeMismatch)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        // No target has lengths of more than 64 bits.
        writer.item(major::BYTES, u64::try_from(self.len()).unwrap_or(u64::MAX));
        writer.raw(self);
    }
}

/// A SHA-256 digest.
impl Value<'_> for [u8; 32] {
    fn read(walk: &mut Walk<'_>) -> Result<Self, Constraint> {
        <&[u8]>::read(walk)?.try_into().map_err(|_| Constraint::ValueInvalid)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        self.as_slice().write(writer);
    }
}

impl Value<'_> for Address {
    fn read(walk: &mut Walk<'_>) -> Result<Self, Constraint> {
        u64::read(walk).map(Self::new)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        self.get().write(writer);
    }
}

/// Any width of float, and integers too: JavaScript peers send a whole number as an integer.
impl Value<'_> for f64 {
    fn read(walk: &mut Walk<'_>) -> Result<Self, Constraint> {
        let head = definite(walk)?;
        let narrow = u32::try_from(head.argument).unwrap_or(0);
        match (head.major, head.info) {
            // An integer beyond 53 bits loses its last digits, as it would in the peer's own arithmetic.
            (major::UNSIGNED, _) => Ok(head.argument as Self),
            (major::NEGATIVE, _) => Ok(-1.0 - head.argument as Self),
            (major::SIMPLE, 0x19) => Ok(f64_from_half(narrow)),
            (major::SIMPLE, 0x1A) => Ok(Self::from(f32::from_bits(narrow))),
            (major::SIMPLE, 0x1B) => Ok(Self::from_bits(head.argument)),
            _ => Err(Constraint::TypeMismatch),
        }
    }

    /// Always 64 bits wide: what the protocol's C and Go peers send and expect.
    fn write(&self, writer: &mut Writer<'_>) {
        writer.raw(&[0xFB]);
        writer.raw(&self.to_be_bytes());
    }
}

/// Widens a half-precision float by its bits (RFC 8949, appendix D).
fn f64_from_half(half: u32) -> f64 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let mantissa = half & 0x03FF;
    match (half >> 10) & 0x1F {
        // 2^-24, the step of the subnormal numbers.
        0 => sign * f64::from(mantissa) / 16_777_216.0,
        0x1F if mantissa == 0 => sign * f64::INFINITY,
        0x1F => f64::NAN,
        exponent => sign * f64::from(f32::from_bits(((exponent + 112) << 23) | (mantissa << 13))),
    }
}
