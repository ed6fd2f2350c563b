// SPDX-License-Identifier: Apache-2.0
//! A greeted connection: frames in, frames out, within its limits.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use fusain::{Decoder, FRAME_MAX};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::lobby::Guest;
use crate::engine::{Input, Opened};
use crate::limits::{CLIENT_OUT_QUEUE, CLIENT_QUEUE, IDLE, READ, WRITE};
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
    #[error("it broke: {0}")]
    WebSocket(String),
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

/// A stream of bytes, with or without TLS.
pub(super) async fn speak_bytes<S: AsyncRead + AsyncWrite>(stream: S, session: &mut Session<'_>) -> End {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut buffer = [0; READ];
    let mut frame = [0; FRAME_MAX];
    loop {
        tokio::select! {
            packet = session.packets.recv() => {
                let Some(packet) = packet else { return End::Dismissed };
                let writing = async {
                    write.write_all(packet.frame(&mut frame)).await?;
                    write.flush().await
                };
                match timeout(WRITE, writing).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return End::Stalled,
                }
            }
            count = read.read(&mut buffer) => match count {
                Ok(0) => return End::Closed,
                Ok(count) => {
                    if let Err(end) = session.take(buffer.get(..count).unwrap_or_default()).await {
                        return end;
                    }
                }
                Err(error) => return error.into(),
            },
            () = sleep_until(session.until) => return End::Silent,
        }
    }
}

/// A WebSocket: a packet for each message out, any split of packets over messages in.
pub(super) async fn speak_websocket<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    session: &mut Session<'_>,
) -> End {
    let mut frame = [0; FRAME_MAX];
    loop {
        tokio::select! {
            packet = session.packets.recv() => {
                let Some(packet) = packet else { return End::Dismissed };
                let message = Message::binary(packet.frame(&mut frame).to_vec());
                match timeout(WRITE, socket.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return End::WebSocket(error.to_string()),
                    Err(_) => return End::Stalled,
                }
            }
            message = socket.next() => match message {
                None | Some(Ok(Message::Close(_))) => return End::Closed,
                Some(Ok(Message::Binary(bytes))) => {
                    if let Err(end) = session.take(&bytes).await {
                        return end;
                    }
                }
                // Text has no meaning here; pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => return End::WebSocket(error.to_string()),
            },
            () = sleep_until(session.until) => return End::Silent,
        }
    }
}
