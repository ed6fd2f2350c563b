// SPDX-License-Identifier: Apache-2.0
//! MCUboot images: what they look like, whether they are whole, and who signed them.
//!
//! The core is `no_std`, allocates nothing and never panics on what it reads. [`Scan`] walks over an image that
//! lies in flash or in a file, a few bytes at a time; [`trailer`] reads what MCUboot keeps at the end of a slot.
//! Formats follow MCUboot's design.md; names there are names here.

#![no_std]

pub mod digest;
mod error;
mod header;
mod scan;
pub mod slot;
pub mod tlv;
pub mod trailer;
mod version;

pub use error::ImageError;
pub use header::{HEADER_MAGIC, HEADER_SIZE, Header, flags};
pub use scan::{SIGNATURE_MAX, Scan, SignatureKind, SignatureRef, Step, Summary};
pub use version::{ImageVersion, ParseVersionError};
