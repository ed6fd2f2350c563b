// SPDX-License-Identifier: Apache-2.0
//! The types that fields have, and how each goes to and from CBOR (PROTOCOL.md §3.2).
//!
//! Whatever minicbor has against an item that is whole, it is of another type. Its encoder cannot fail here
//! (see [`crate::cbor::Payload`]), so what it returns says nothing.

use minicbor::Decoder;
use minicbor::data::{Int, Type};

use crate::address::Address;
use crate::cbor::ItemEncoder;
use crate::error::Constraint;
use crate::fields::Value;

impl Value<'_> for u64 {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        decoder.u64().map_err(|_| Constraint::TypeMismatch)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) {
        encoder.u64(*self).ok();
    }
}

/// Narrower unsigned integers; what does not fit is too high, not of another type.
macro_rules! narrow {
    ($($number:ty),*) => { $(
        impl Value<'_> for $number {
            fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
                Self::try_from(u64::read(decoder)?).map_err(|_| Constraint::ValueTooHigh)
            }

            fn write(&self, encoder: &mut ItemEncoder<'_>) {
                u64::from(*self).write(encoder);
            }
        }
    )* };
}
narrow!(u8, u16, u32);

/// Reads an integer of either sign.
fn integer(decoder: &mut Decoder<'_>) -> Result<i128, Constraint> {
    decoder.int().map(i128::from).map_err(|_| Constraint::TypeMismatch)
}

impl Value<'_> for i32 {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        let number = integer(decoder)?;
        let beyond = if number < 0 { Constraint::ValueTooLow } else { Constraint::ValueTooHigh };
        Self::try_from(number).map_err(|_| beyond)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) {
        encoder.int(Int::from(*self)).ok();
    }
}

impl Value<'_> for bool {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        decoder.bool().map_err(|_| Constraint::TypeMismatch)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) {
        encoder.bool(*self).ok();
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read(decoder: &mut Decoder<'a>) -> Result<Self, Constraint> {
        decoder.bytes().map_err(|_| Constraint::TypeMismatch)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) {
        encoder.bytes(self).ok();
    }
}

/// A SHA-256 digest.
impl Value<'_> for [u8; 32] {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        <&[u8]>::read(decoder)?.try_into().map_err(|_| Constraint::ValueInvalid)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) {
        self.as_slice().write(encoder);
    }
}

impl Value<'_> for Address {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        u64::read(decoder).map(Self::new)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) {
        self.get().write(encoder);
    }
}

/// Any width of float, and integers too: JavaScript peers send a whole number as an integer.
impl Value<'_> for f64 {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        match decoder.datatype() {
            Ok(Type::F16) => half(decoder).ok_or(Constraint::TypeMismatch),
            Ok(Type::F32 | Type::F64) => decoder.f64().map_err(|_| Constraint::TypeMismatch),
            // An integer beyond 53 bits loses its last digits as it would in the peer's own arithmetic, which
            // has a negative one as -1 less its argument; inverting the bits of the number gives that.
            _ => integer(decoder).map(|number| match number {
                0.. => number as Self,
                _ => -1.0 - !number as Self,
            }),
        }
    }

    /// Always 64 bits wide: what the protocol's C and Go peers send and expect.
    fn write(&self, encoder: &mut ItemEncoder<'_>) {
        encoder.f64(*self).ok();
    }
}

/// Reads a half-precision float and widens it by its bits (RFC 8949, appendix D).
///
/// minicbor does this with its feature `half`, which would bring a procedural macro and its parsers into the
/// build of every device, none of which has a use for floats.
fn half(decoder: &Decoder<'_>) -> Option<f64> {
    let [_, high, low] = *decoder.input().get(decoder.position()..)?.first_chunk()?;
    let bits = u32::from(u16::from_be_bytes([high, low]));
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let mantissa = bits & 0x03FF;
    Some(match (bits >> 10) & 0x1F {
        // 2^-24, the step of the subnormal numbers.
        0 => sign * f64::from(mantissa) / 16_777_216.0,
        0x1F if mantissa == 0 => sign * f64::INFINITY,
        0x1F => f64::NAN,
        exponent => sign * f64::from(f32::from_bits(((exponent + 112) << 23) | (mantissa << 13))),
    })
}
