// SPDX-License-Identifier: Apache-2.0
//! What a controller is told about itself.

use core::fmt;

use fusain::Address;
use rekindle_session::sender::Link;

use crate::policy::Target;

/// Clients that can be connected at once, at most: they are named by the bits of a word.
pub const CLIENTS_MAX: usize = 32;

/// What happens to an update that is addressed to an appliance (PROTOCOL.md §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The controller takes the image itself, judges it, keeps it and brings it to the appliance.
    StoreAndForward,
    /// The controller passes every frame on, and judges nothing.
    Transparent,
}

/// The controller's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What happens to updates.
    pub routing: Routing,
    /// Largest image that the store has room for, in bytes.
    pub image_max: u32,
    /// Bytes of the image between two checkpoints: at most so many acknowledged bytes are lost in a power cut.
    pub checkpoint: u32,
    /// Frames of data that a client may have on the way, 1..=255.
    pub window: u8,
    /// Largest chunk that clients are told, in bytes, 1..=101.
    pub chunk_max: u8,
    /// Idle time in milliseconds after which another image takes the store over.
    pub takeover_ms: u32,
    /// Address of the controller's own chip, if it has one; the stateless address always means it.
    pub own: Option<Address>,
    /// The controller has a receiver of its own: updates for its own address are handed to it.
    pub updates_itself: bool,
    /// An appliance that the controller does not know may be asked for on its only link.
    pub admit_unknown: bool,
    /// The low bits of the boot's number, for records; 0 on a controller that does not count its boots.
    pub boot: u16,
}

impl Config {
    /// Store and forward with the defaults: checkpoints every 16 KiB, window 24, chunks of 100 bytes, takeover
    /// after 60 s.
    #[must_use]
    pub const fn new(image_max: u32) -> Self {
        Self {
            routing: Routing::StoreAndForward,
            image_max,
            checkpoint: 16 * 1024,
            window: 24,
            chunk_max: 100,
            takeover_ms: 60_000,
            own: None,
            updates_itself: false,
            admit_unknown: true,
            boot: 0,
        }
    }

    pub(crate) fn check(&self, clients: usize, devices: usize) -> Result<(), ConfigError> {
        if self.checkpoint == 0 || self.image_max == 0 {
            Err(ConfigError::Store)
        } else if self.window == 0 || self.chunk_max == 0 || self.chunk_max > 101 {
            Err(ConfigError::Window)
        } else if clients == 0 || clients > CLIENTS_MAX || devices == 0 || devices > 255 {
            Err(ConfigError::Tables)
        } else {
            Ok(())
        }
    }
}

/// One southbound link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// What a sender must know of it.
    pub line: Link,
    /// Most frames of data on the way: what the driver's transmit queue can hold, 1..=255.
    pub window_max: u8,
    /// What images its appliances take, but for one that is [configured](crate::Relay::configure) otherwise.
    pub target: Target,
}

impl LinkConfig {
    /// A link whose appliances may take any image; for `window_max` see there.
    #[must_use]
    pub const fn new(line: Link, window_max: u8) -> Self {
        Self { line, window_max, target: Target { vendor: None, class: None } }
    }
}

/// Why a [`Config`] cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The largest image or the distance of checkpoints is 0.
    Store,
    /// The window is 0, or a chunk is not 1..=101 bytes.
    Window,
    /// No room for a client or an appliance, or for too many: 32 clients and 255 appliances are the most.
    Tables,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "largest image and distance of checkpoints must not be 0",
            Self::Window => "window must be 1 to 255 frames and a chunk 1 to 101 bytes",
            Self::Tables => "a controller has 1 to 32 clients and 1 to 255 appliances",
        })
    }
}

impl core::error::Error for ConfigError {}
