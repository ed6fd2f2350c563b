// SPDX-License-Identifier: Apache-2.0
//! MCUboot images: what they look like, whether they are whole, and who signed them.
//!
//! The core is `no_std`, allocates nothing and never panics on what it reads.
//!
//! - [`Scan`] walks over an image that lies in flash or in a file, a few bytes at a time; [`Image`] is one that is in
//!   memory.
//! - [`trailer`] reads and writes what MCUboot keeps at the end of a slot, [`slot`] tells where in a slot an image
//!   begins and how large it may be.
//! - [`der`] takes ECDSA signatures apart for those who check them otherwise.
//! - `key` checks signatures (features `p256`, `ed25519`).
//! - `sign` makes keys and images on a host, byte for byte as imgtool does (feature `sign`).
//!
//! Formats follow MCUboot's design.md; names there are names here.

#![no_std]

#[cfg(feature = "sign")]
extern crate std;

pub mod der;
pub mod digest;
mod error;
mod header;
mod image;
#[cfg(any(feature = "p256", feature = "ed25519"))]
pub mod key;
mod scan;
#[cfg(feature = "sign")]
pub mod sign;
pub mod slot;
pub mod tlv;
pub mod trailer;
mod version;

pub use error::ImageError;
pub use header::{HEADER_MAGIC, HEADER_SIZE, Header, flags};
pub use image::{Dependency, Image, Tlv, Tlvs, VerifyError};
pub use scan::{SIGNATURE_MAX, Scan, SignatureKind, SignatureRef, Step, Summary};
pub use version::{ImageVersion, ParseVersionError};
