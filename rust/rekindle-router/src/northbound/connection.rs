// SPDX-License-Identifier: Apache-2.0
//! A greeted connection: frames in, frames out, within its limits.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use fusain::{Decoder, FRAME_MAX};
use rekindle_relay::websocket::Step;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::lobby::Guest;
use super::upgrade::Server;
use crate::engine::{Input, Opened};
use crate::limits::{CLIENT_OUT_QUEUE, CLIENT_QUEUE, IDLE, LINGER, READ, WRITE};
use crate::packet::Packet;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the other side closed it")]
    Closed,
    #[error("no whole frame in time")]
    Silent,
    #[error("what was sent was not taken in time")]
    Stalled,
    #[error("the core has ended it")]
    Dismissed,
    #[error("it broke: {0}")]
    Io(#[from] io::Error),
}

/// What a connection is to the core.
pub(super) struct Session<'a> {
    guest: &'a Guest,
    core: Sender<Input>,
    name: Arc<str>,
    decoder: Decoder,
    /// To whom the core sends; taken by the first frame.
    sender: Option<mpsc::Sender<Packet>>,
    packets: mpsc::Receiver<Packet>,
    credit: Arc<Semaphore>,
    /// Without a whole frame it ends then.
    until: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(guest: &'a Guest, core: Sender<Input>, name: Arc<str>, until: Instant) -> Self {
        let (sender, packets) = mpsc::channel(CLIENT_OUT_QUEUE);
        let credit = Arc::new(Semaphore::new(CLIENT_QUEUE));
        let sender = Some(sender);
        Self { guest, core, name, decoder: Decoder::new(), sender, packets, credit, until }
    }

    /// Takes bytes from the connection. Damaged frames are passed over. Waits while the core has enough.
    async fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        for &byte in bytes {
            let Some(Ok(packet)) = self.decoder.push(byte) else { continue };
            let Some(packet) = Packet::new(packet.address, packet.payload) else { continue };
            self.until = Instant::now() + IDLE;
            if let Some(out) = self.sender.take() {
                self.guest.has_spoken();
                let (name, credit) = (Arc::clone(&self.name), Arc::clone(&self.credit));
                self.tell(Input::Opened(Opened { connection: self.guest.number, name, out, credit }))?;
            }
            self.permit().await?;
            self.tell(Input::Frame { connection: self.guest.number, packet })?;
        }
        Ok(())
    }

    /// One frame may go to the core; it gives the permit back when it has taken the frame. A core that has dismissed
    /// this connection gives none.
    async fn permit(&self) -> Result<(), End> {
        let permit = timeout(WRITE, self.credit.acquire()).await.map_err(|_| End::Dismissed)?;
        permit.map_err(|_| End::Dismissed)?.forget();
        Ok(())
    }

    fn tell(&self, input: Input) -> Result<(), End> {
        self.core.send(input).map_err(|_| End::Dismissed)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.sender.is_none() {
            let _ = self.core.send(Input::Closed { connection: self.guest.number });
        }
    }
}

/// Writes all of it, or says why the connection ends.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), End> {
    let writing = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match timeout(WRITE, writing).await {
        Ok(written) => written.map_err(End::from),
        Err(_) => Err(End::Stalled),
    }
}

/// A stream of bytes, with or without TLS.
pub(super) async fn speak_bytes<S: AsyncRead + AsyncWrite>(stream: S, session: &mut Session<'_>) -> End {
    let (mut read, mut write_half) = tokio::io::split(stream);
    let mut buffer = [0; READ];
    let mut frame = [0; FRAME_MAX];
    loop {
        let done = tokio::select! {
            packet = session.packets.recv() => {
                let Some(packet) = packet else { return End::Dismissed };
                write(&mut write_half, packet.frame(&mut frame)).await
            }
            count = read.read(&mut buffer) => match count {
                Ok(0) => return End::Closed,
                Ok(count) => session.take(buffer.get(..count).unwrap_or_default()).await,
                Err(error) => return error.into(),
            },
            () = sleep_until(session.until) => return End::Silent,
        };
        if let Err(end) = done {
            return end;
        }
    }
}

/// A connection whose upgrade is done.
pub(super) struct WebSocket<S> {
    pub(super) stream: S,
    pub(super) server: Box<Server>,
    /// What came right behind the request.
    pub(super) rest: Vec<u8>,
}

/// A WebSocket: a packet for each message out, any split of packets over messages in.
pub(super) async fn speak_websocket<S: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocket<S>,
    session: &mut Session<'_>,
) -> End {
    let WebSocket { mut stream, mut server, rest } = socket;
    let mut buffer = [0; READ];
    let mut frame = [0; FRAME_MAX];
    let mut done = take_in(&mut stream, &mut server, &rest, session).await;
    while done.is_ok() {
        done = tokio::select! {
            packet = session.packets.recv() => {
                let Some(packet) = packet else { return End::Dismissed };
                let frame = packet.frame(&mut frame);
                let (head, len) = Server::head(u16::try_from(frame.len()).unwrap_or(0));
                write(&mut stream, &[head.get(..len).unwrap_or_default(), frame].concat()).await
            }
            count = stream.read(&mut buffer) => match count {
                Ok(0) => return End::Closed,
                Ok(count) => take_in(&mut stream, &mut server, buffer.get(..count).unwrap_or_default(), session).await,
                Err(error) => return error.into(),
            },
            () = sleep_until(session.until) => return End::Silent,
        };
    }
    done.err().unwrap_or(End::Closed)
}

/// Takes what messages hold, and answers what wants an answer.
async fn take_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    server: &mut Server,
    bytes: &[u8],
    session: &mut Session<'_>,
) -> Result<(), End> {
    let mut data = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match server.push(byte) {
            Step::Data(byte) => data.push(byte),
            Step::More | Step::Asked => {}
            Step::Reply => write(stream, server.reply()).await?,
            Step::Close => {
                // What came before still counts.
                session.take(&data).await?;
                write(stream, server.reply()).await?;
                linger(stream).await;
                return Err(End::Closed);
            }
        }
    }
    session.take(&data).await
}

/// Lets the other side end the connection: closed with bytes that nobody read, it could lose the answer that it was sent.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let mut buffer = [0; READ];
    let ending = async {
        stream.shutdown().await?;
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, ending).await;
}
