// SPDX-License-Identifier: Apache-2.0
//! One module per command.

pub(crate) mod campaign;
pub(crate) mod decode;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod discover;
pub(crate) mod image_file;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod push;
#[cfg(unix)]
pub(crate) mod relay;
pub(crate) mod session;
pub(crate) mod sign;
pub(crate) mod simulate;
pub(crate) mod status;
