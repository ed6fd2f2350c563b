// SPDX-License-Identifier: Apache-2.0
//! What is bounded, and by how much. Together with the sizes of the core's tables these bound the daemon's memory.

use core::time::Duration;

/// Southbound links, at most.
pub const LINKS_MAX: usize = 8;
/// Appliances on the roster, at most.
pub const APPLIANCES_MAX: usize = 64;
/// Clients that are served at once: connections from which a whole frame has come.
pub const CLIENTS_MAX: usize = rekindle_relay::CLIENTS_MAX;
/// Northbound connections of all listeners together, whatever they have got through so far. Beyond it, a new one
/// takes the place of the oldest that has not sent a frame yet.
pub const CONNECTIONS_MAX: usize = 256;

/// Time from the accepted connection to the first whole frame: TLS, upgrade and credentials are within it.
pub const GREETING: Duration = Duration::from_secs(10);
/// Time without a whole frame after which a client is disconnected. One that only listens pings every 15 s, or its
/// subscriptions end after 60 s anyhow.
pub const IDLE: Duration = Duration::from_secs(180);
/// Time without a whole frame after which a client makes room for another one, where all places are taken.
pub const REPLACEABLE: Duration = Duration::from_secs(30);
/// Time in which a client must take what is sent to it.
pub const WRITE: Duration = Duration::from_secs(10);

/// Frames of one client that wait for the core; its socket is not read meanwhile.
pub const CLIENT_QUEUE: usize = 32;
/// Frames that wait for one client; a client that lets more gather is disconnected.
pub const CLIENT_OUT_QUEUE: usize = 512;
/// Frames that wait for one link. From here on the core keeps data back.
pub const LINK_OUT_QUEUE: usize = 64;
/// Of these, frames that clients send through the daemon. What finds no room waits with its client, so that each has
/// its turn, and the core's own frames find room.
pub const LINK_CLIENT_QUEUE: usize = 8;
/// Room beyond that for emergency stops.
pub const LINK_EMERGENCY_QUEUE: usize = 8;
/// Least time between two commands of clients on a network link: what takes more is the bus behind it, whose other end
/// would keep the core's frames waiting as well.
pub const LINK_CLIENT_PACE: Duration = Duration::from_millis(8);
/// Time that a client's frame waits for a link that takes nothing; then it is lost, as on a wire.
pub const LINK_PATIENCE: Duration = Duration::from_secs(1);
/// Frames of one link that wait for the core; more are lost, as on a wire.
pub const LINK_QUEUE: usize = 256;
/// Longest request for a WebSocket, in bytes.
pub const REQUEST_MAX: usize = 8 * 1024;
/// Time that a client has to end a connection after its WebSocket was closed.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// Bytes read from a socket at once.
pub(crate) const READ: usize = 4 * 1024;

/// Silence of a network link after which it is connected anew: appliances are pinged every 10 s.
pub const LINK_SILENCE: Duration = Duration::from_secs(120);
