// SPDX-License-Identifier: Apache-2.0
//! The types that fields have, and how each goes to and from CBOR (PROTOCOL.md §3.2).

use crate::address::Address;
use crate::cbor::{FALSE, TRUE, Writer, major};
use crate::error::Constraint;
use crate::fields::{Fields, Value};

impl Value<'_> for u64 {
    fn read(fields: &mut Fields<'_>, key: u8) -> Self {
        fields.number(key)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.head(major::UNSIGNED, *self);
    }
}

/// Narrower unsigned integers; what does not fit is too high, not of another type.
macro_rules! narrow {
    ($($number:ty),*) => { $(
        impl Value<'_> for $number {
            fn read(fields: &mut Fields<'_>, key: u8) -> Self {
                Self::try_from(fields.number(key)).unwrap_or_else(|_| {
                    fields.refuse(key, Constraint::ValueTooHigh);
                    0
                })
            }

            fn write(&self, writer: &mut Writer<'_>) {
                u64::from(*self).write(writer);
            }
        }
    )* };
}
narrow!(u8, u16, u32);

/// Reads an integer of either sign: whether it is negative, and then -1 less its value.
fn integer(fields: &mut Fields<'_>, key: u8) -> (bool, u64) {
    let (first, items) = fields.item(key);
    if first.major() > major::NEGATIVE {
        fields.refuse(key, Constraint::TypeMismatch);
    }
    (first.major() == major::NEGATIVE, items.argument)
}

impl Value<'_> for i32 {
    fn read(fields: &mut Fields<'_>, key: u8) -> Self {
        let (negative, argument) = integer(fields, key);
        let Ok(number) = Self::try_from(argument) else {
            let beyond = if negative { Constraint::ValueTooLow } else { Constraint::ValueTooHigh };
            fields.refuse(key, beyond);
            return 0;
        };
        if negative { !number } else { number }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        // A negative integer is written as -1 less its value, which inverting its bits gives.
        let (major, number) = if *self < 0 { (major::NEGATIVE, !*self) } else { (major::UNSIGNED, *self) };
        writer.head(major, u64::from(number.unsigned_abs()));
    }
}

impl Value<'_> for bool {
    fn read(fields: &mut Fields<'_>, key: u8) -> Self {
        let (first, _) = fields.item(key);
        if !matches!(first.0, FALSE | TRUE) {
            fields.refuse(key, Constraint::TypeMismatch);
        }
        first.0 == TRUE
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(&[if *self { TRUE } else { FALSE }]);
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read(fields: &mut Fields<'a>, key: u8) -> Self {
        fields.bytes(key)
    }

    #[inline(never)]
    fn write(&self, writer: &mut Writer<'_>) {
        writer.head(major::BYTES, u64::try_from(self.len()).unwrap_or(u64::MAX));
        writer.bytes(self);
    }
}

/// A SHA-256 digest.
impl Value<'_> for [u8; 32] {
    fn read(fields: &mut Fields<'_>, key: u8) -> Self {
        fields.bytes(key).try_into().unwrap_or_else(|_| {
            fields.refuse(key, Constraint::ValueInvalid);
            [0; 32]
        })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        self.as_slice().write(writer);
    }
}

impl Value<'_> for Address {
    fn read(fields: &mut Fields<'_>, key: u8) -> Self {
        Self::new(fields.number(key))
    }

    fn write(&self, writer: &mut Writer<'_>) {
        self.get().write(writer);
    }
}

/// First bytes of floats, by their widths in bits.
const FLOAT_16: u8 = 0xF9;
const FLOAT_32: u8 = 0xFA;
const FLOAT_64: u8 = 0xFB;

/// Any width of float, and integers too: JavaScript peers send a whole number as an integer.
impl Value<'_> for f64 {
    fn read(fields: &mut Fields<'_>, key: u8) -> Self {
        let (first, items) = fields.item(key);
        // The bits of a float are its head's argument, no wider than the float.
        match first.0 {
            FLOAT_16 => half(u16::try_from(items.argument).unwrap_or(0)),
            FLOAT_32 => Self::from(f32::from_bits(u32::try_from(items.argument).unwrap_or(0))),
            FLOAT_64 => Self::from_bits(items.argument),
            // An integer beyond 53 bits loses its last digits as it would in the peer's own arithmetic, which
            // has a negative one as -1 less its argument.
            _ => match integer(fields, key) {
                (true, argument) => -1.0 - argument as Self,
                (false, argument) => argument as Self,
            },
        }
    }

    /// Always 64 bits wide: what the protocol's C and Go peers send and expect.
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(&[FLOAT_64]);
        writer.bytes(&self.to_be_bytes());
    }
}

/// Widens a half-precision float by its bits (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let bits = u32::from(bits);
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let mantissa = bits & 0x03FF;
    match (bits >> 10) & 0x1F {
        // 2^-24, the step of the subnormal numbers.
        0 => sign * f64::from(mantissa) / 16_777_216.0,
        0x1F if mantissa == 0 => sign * f64::INFINITY,
        0x1F => f64::NAN,
        exponent => sign * f64::from(f32::from_bits(((exponent + 112) << 23) | (mantissa << 13))),
    }
}
