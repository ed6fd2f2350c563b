// SPDX-License-Identifier: Apache-2.0
//! Device addresses (PROTOCOL.md §1.3).

use core::fmt;
use core::str::FromStr;

/// A 64-bit address: the destination of a command, the source of everything else.
///
/// Shown, and read, as hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct Address(u64);

impl Address {
    /// Every device on the link. Never used for an update.
    pub const BROADCAST: Self = Self(0);
    /// The router at the other end of the link.
    pub const STATELESS: Self = Self(u64::MAX);

    /// Makes an address from its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the address as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns whether this is the address of one device, neither broadcast nor stateless.
    #[must_use]
    pub const fn is_device(self) -> bool {
        self.0 != Self::BROADCAST.0 && self.0 != Self::STATELESS.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Text that is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseAddressError;

impl fmt::Display for ParseAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address is 1 to 16 hexadecimal digits, with or without 0x")
    }
}

impl core::error::Error for ParseAddressError {}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        // from_str_radix would take a sign, and any number of leading zeros.
        if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseAddressError);
        }
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| ParseAddressError)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn text_goes_both_ways() {
        let address = Address::new(0x0011_2233_4455_AABB);
        assert_eq!(address.to_string(), "001122334455aabb");
        assert_eq!("001122334455aabb".parse(), Ok(address));
        assert_eq!("0x1122334455AABB".parse(), Ok(address));
        assert_eq!("0".parse(), Ok(Address::BROADCAST));
        assert_eq!("ffffffffffffffff".parse(), Ok(Address::STATELESS));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "0x", "+1", "-1", "g", "1 ", "00000000000000001", "0x0x1"] {
            assert_eq!(text.parse::<Address>(), Err(ParseAddressError), "{text:?}");
        }
    }

    #[test]
    fn only_a_device_is_a_device() {
        assert!(Address::new(1).is_device());
        assert!(!Address::BROADCAST.is_device());
        assert!(!Address::STATELESS.is_device());
    }
}
