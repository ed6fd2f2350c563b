// SPDX-License-Identifier: Apache-2.0
//! UUIDs of vendor and device class.

use ::uuid::Uuid;

/// Why a text is no vendor or class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UuidError {
    /// A class by name without a vendor.
    #[error("a class given by name needs the vendor it belongs to; give the vendor, or the class as a UUID")]
    NoVendor,
    /// Neither a UUID nor a printable name.
    #[error("not a UUID (32 hexadecimal digits, with or without dashes) and not a name")]
    Text,
}

/// The UUID of a vendor, as imgtool's `--vid` makes it.
///
/// A UUID stands for itself; a name, which should be a domain of the vendor's, becomes a UUID of version 5 (RFC 9562) in
/// the name space of domain names.
///
/// # Errors
/// [`UuidError::Text`].
pub fn vendor_uuid(text: &str) -> Result<[u8; 16], UuidError> {
    parse(Some(&Uuid::NAMESPACE_DNS), text)
}

/// The UUID of a device class, as imgtool's `--cid` makes it: as [`vendor_uuid`], but names are within the vendor's name
/// space.
///
/// # Errors
/// [`UuidError::Text`]; [`UuidError::NoVendor`] for a name without a vendor.
pub fn class_uuid(vendor: Option<[u8; 16]>, text: &str) -> Result<[u8; 16], UuidError> {
    parse(vendor.map(Uuid::from_bytes).as_ref(), text)
}

fn parse(namespace: Option<&Uuid>, text: &str) -> Result<[u8; 16], UuidError> {
    // The two forms imgtool takes as they are; braces and "urn:uuid:" are names to it.
    let dashes = text.bytes().filter(|b| *b == b'-').count();
    if matches!((text.len(), dashes), (32, 0) | (36, 4))
        && let Ok(uuid) = Uuid::try_parse(text)
    {
        return Ok(uuid.into_bytes());
    }
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(UuidError::Text);
    }
    namespace.map(|space| Uuid::new_v5(space, text.as_bytes()).into_bytes()).ok_or(UuidError::NoVendor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: [u8; 16] =
        [0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0];

    #[test]
    fn uuids_stand_for_themselves() {
        assert_eq!(vendor_uuid("12345678-1234-5678-1234-56789abcdef0"), Ok(RAW));
        assert_eq!(vendor_uuid("123456781234567812345678 9ABCDEF0".replace(' ', "").as_str()), Ok(RAW));
        assert_eq!(class_uuid(None, "12345678-1234-5678-1234-56789abcdef0"), Ok(RAW));
    }

    /// RFC 9562, appendix A.4: "www.example.com" in the name space of domain names.
    #[test]
    fn names_become_version_five() {
        let expected = Uuid::try_parse("2ed6657d-e927-568b-95e1-2665a8aea6a2").unwrap();
        assert_eq!(vendor_uuid("www.example.com"), Ok(expected.into_bytes()));
    }

    #[test]
    fn a_class_name_needs_a_vendor() {
        assert_eq!(class_uuid(None, "heater"), Err(UuidError::NoVendor));
        let a = class_uuid(Some(RAW), "heater").unwrap();
        assert_ne!(class_uuid(vendor_uuid("example.com").ok(), "heater"), Ok(a));
        assert_eq!(vendor_uuid(""), Err(UuidError::Text));
        assert_eq!(vendor_uuid("a\nb"), Err(UuidError::Text));
    }
}
