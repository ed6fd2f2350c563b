// SPDX-License-Identifier: Apache-2.0
//! The version an image carries in its header.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

/// Version of an image (`struct image_version`; MCUboot design.md, "Image format").
///
/// Written `major.minor.revision`, with `+build` when the build number is not zero. There is no `Ord`: whether
/// the build number decides is a configuration of the bootloader, so each comparison says which of the two it
/// means ([`cmp_release`](Self::cmp_release) or [`cmp_with_build`](Self::cmp_with_build)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ImageVersion {
    /// First number.
    pub major: u8,
    /// Second number.
    pub minor: u8,
    /// Third number.
    pub revision: u16,
    /// Build number; told after a `+`.
    pub build: u32,
}

impl ImageVersion {
    /// A version from its four numbers.
    #[must_use]
    pub const fn new(major: u8, minor: u8, revision: u16, build: u32) -> Self {
        Self { major, minor, revision, build }
    }

    /// Orders by major, minor and revision, as MCUboot does by default (downgrade prevention, dependencies).
    #[must_use]
    pub fn cmp_release(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.revision).cmp(&(other.major, other.minor, other.revision))
    }

    /// Orders by all four numbers, as MCUboot does with `MCUBOOT_VERSION_CMP_USE_BUILD_NUMBER`.
    #[must_use]
    pub fn cmp_with_build(&self, other: &Self) -> Ordering {
        self.cmp_release(other).then(self.build.cmp(&other.build))
    }

    /// Reads the eight little-endian bytes of the header or of a dependency.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        let [major, minor, r0, r1, b0, b1, b2, b3] = bytes;
        Self {
            major,
            minor,
            revision: u16::from_le_bytes([r0, r1]),
            build: u32::from_le_bytes([b0, b1, b2, b3]),
        }
    }

    /// The eight little-endian bytes that stand in the header or in a dependency.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let [r0, r1] = self.revision.to_le_bytes();
        let [b0, b1, b2, b3] = self.build.to_le_bytes();
        [self.major, self.minor, r0, r1, b0, b1, b2, b3]
    }
}

impl fmt::Display for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)?;
        if self.build != 0 { write!(f, "+{}", self.build) } else { Ok(()) }
    }
}

/// The text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseVersionError;

impl fmt::Display for ParseVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not an image version: write MAJOR[.MINOR[.REVISION[+BUILD]]] with numbers up to \
             255.255.65535+4294967295 and no leading zeros, for example 1.2.3+4",
        )
    }
}

impl core::error::Error for ParseVersionError {}

impl FromStr for ImageVersion {
    type Err = ParseVersionError;

    /// Reads `MAJOR[.MINOR[.REVISION[+BUILD]]]`: what imgtool takes, except that a number too large for its
    /// field is refused here and not when the image is written.
    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let (release, build) = match text.split_once('+') {
            Some((release, build)) => (release, Some(build)),
            None => (text, None),
        };
        let mut parts = release.split('.');
        let major = number(parts.next())?;
        let minor = parts.next().map_or(Ok(0), |part| number(Some(part)))?;
        let revision = parts.next();
        if parts.next().is_some() || (build.is_some() && revision.is_none()) {
            return Err(ParseVersionError);
        }
        Ok(Self {
            major,
            minor,
            revision: revision.map_or(Ok(0), |part| number(Some(part)))?,
            build: build.map_or(Ok(0), |part| number(Some(part)))?,
        })
    }
}

/// A plain decimal number without sign or leading zeros.
fn number<T: FromStr>(part: Option<&str>) -> Result<T, ParseVersionError> {
    let part = part.ok_or(ParseVersionError)?;
    let plain = part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
    if plain { part.parse().map_err(|_| ParseVersionError) } else { Err(ParseVersionError) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_both_ways() {
        for (text, version) in [
            ("1.2.3+4", ImageVersion::new(1, 2, 3, 4)),
            ("0.0.0", ImageVersion::default()),
            ("255.255.65535+4294967295", ImageVersion::new(255, 255, 65535, u32::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(version));
            assert_eq!(version.to_string(), text);
            assert_eq!(ImageVersion::from_bytes(version.to_bytes()), version);
        }
        assert_eq!("7".parse(), Ok(ImageVersion::new(7, 0, 0, 0)));
        assert_eq!("7.1".parse(), Ok(ImageVersion::new(7, 1, 0, 0)));
    }

    #[test]
    fn refuses_what_imgtool_refuses() {
        for text in [
            "",
            "1.",
            "1.2.3.4",
            "1.2+3",
            "01",
            "1.2.03",
            "256",
            "1.256",
            "1.2.65536",
            "+1",
            "1.-2",
            "1.2.3+",
        ] {
            assert_eq!(text.parse::<ImageVersion>(), Err(ParseVersionError), "{text}");
        }
    }

    #[test]
    fn build_decides_only_when_asked() {
        let (a, b) = (ImageVersion::new(1, 2, 3, 9), ImageVersion::new(1, 2, 3, 4));
        assert_eq!(a.cmp_release(&b), Ordering::Equal);
        assert_eq!(a.cmp_with_build(&b), Ordering::Greater);
        assert_eq!(ImageVersion::new(1, 2, 256, 0).cmp_release(&a), Ordering::Greater);
    }
}
