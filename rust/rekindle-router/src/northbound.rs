// SPDX-License-Identifier: Apache-2.0
//! Listeners, and what a connection goes through before it is a client.

mod connection;
mod lobby;
mod upgrade;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use crate::config::{Northbound, Scheme};
use crate::engine::Input;
use crate::limits::GREETING;
use crate::secrets::hash;
use connection::{Session, WebSocket, speak_bytes, speak_websocket};
use lobby::{Guest, Lobby};

/// Pause when the operating system gives no more connections, for instance out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    core: Sender<Input>,
    lobby: Lobby,
}

impl Shared {
    pub(crate) fn new(core: Sender<Input>) -> Self {
        Self { core, lobby: Lobby::default() }
    }
}

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, northbound: Northbound, shared: Shared) {
    let northbound = Arc::new(northbound);
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                let Some(guest) = shared.lobby.enter() else {
                    tracing::warn!(%peer, "too many connections: refused");
                    continue;
                };
                tokio::spawn(receive(socket, peer, Arc::clone(&northbound), shared.clone(), guest));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One connection, from its first byte to its last.
async fn receive(
    socket: TcpStream,
    peer: SocketAddr,
    northbound: Arc<Northbound>,
    shared: Shared,
    guest: Guest,
) {
    let by = Instant::now() + GREETING;
    let scheme = northbound.scheme.name();
    let conversation = async {
        match greet(socket, peer, &northbound, by).await {
            Err(error) => tracing::info!(%peer, scheme, %error, "no client"),
            Ok(greeted) => {
                let mut session = Session::new(&guest, shared.core.clone(), greeted.name, by);
                let error = match greeted.stream {
                    Greeted::Tcp(stream) => speak_bytes(stream, &mut session).await,
                    Greeted::Tls(stream) => speak_bytes(*stream, &mut session).await,
                    Greeted::WebSocket(stream) => speak_websocket(*stream, &mut session).await,
                    Greeted::WebSocketTls(stream) => speak_websocket(*stream, &mut session).await,
                };
                tracing::debug!(%peer, scheme, ?error, "connection ends");
            }
        }
    };
    tokio::select! {
        () = conversation => {}
        () = guest.told_to_go() => tracing::info!(%peer, scheme, "makes room: it has said nothing yet"),
    }
}

/// What a connection turned out to be.
enum Greeted {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocket<TcpStream>>),
    WebSocketTls(Box<WebSocket<TlsStream<TcpStream>>>),
}

/// The stream, and who is at the other end.
struct Welcome {
    stream: Greeted,
    name: Arc<str>,
}

async fn greet(
    socket: TcpStream,
    peer: SocketAddr,
    northbound: &Northbound,
    by: Instant,
) -> io::Result<Welcome> {
    socket.set_nodelay(true)?;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake was not done in time");
    let welcome = |stream, who: &str| Welcome { stream, name: format!("{who} at {peer}").into() };
    let Some(tls) = &northbound.tls else {
        if northbound.scheme == Scheme::Tcp {
            return Ok(welcome(Greeted::Tcp(socket), "somebody"));
        }
        let upgraded = upgrade::accept(socket, northbound, None);
        let (stream, who) = timeout_at(by, upgraded).await.map_err(late)??;
        return Ok(welcome(Greeted::WebSocket(Box::new(stream)), &who));
    };
    let stream = timeout_at(by, tls.0.accept(socket)).await.map_err(late)??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let who = certificate.map(|certificate| {
        let print = data_encoding::HEXLOWER.encode(&hash(certificate));
        format!("certificate {}", print.get(..16).unwrap_or(&print))
    });
    if northbound.scheme == Scheme::Tls {
        return Ok(welcome(Greeted::Tls(Box::new(stream)), who.as_deref().unwrap_or("somebody")));
    }
    let upgraded = upgrade::accept(stream, northbound, who);
    let (stream, who) = timeout_at(by, upgraded).await.map_err(late)??;
    Ok(welcome(Greeted::WebSocketTls(Box::new(stream)), &who))
}
