// SPDX-License-Identifier: Apache-2.0
//! From HTTP to a WebSocket: who is asking, and from which page.

use std::io;

use rekindle_relay::websocket::{self, Refusal, Step, knows_origin};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::connection::WebSocket;
use crate::config::Northbound;
use crate::limits::{READ, REQUEST_MAX};

/// The server's side, which a controller on Zephyr has as well.
pub(super) type Server = websocket::Server<REQUEST_MAX>;

/// Goes through the upgrade; says who asked. `certificate` is who has shown one already.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    northbound: &Northbound,
    certificate: Option<String>,
) -> io::Result<(WebSocket<S>, String)> {
    let mut server = Box::new(Server::new());
    let mut who = String::new();
    let mut buffer = [0; READ];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = buffer.get(..count).unwrap_or_default();
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = rest;
            let step = match server.push(byte) {
                Step::Asked => match judge(&server, northbound, certificate.as_deref()) {
                    Ok(asking) => {
                        who = asking;
                        server.accept()
                    }
                    Err(why) => server.refuse(why),
                },
                step => step,
            };
            if step == Step::More {
                continue;
            }
            stream.write_all(server.reply()).await?;
            stream.flush().await?;
            if step == Step::Reply {
                return Ok((WebSocket { stream, server, rest: bytes.to_vec() }, who));
            }
            let answer = String::from_utf8_lossy(server.reply());
            let status =
                answer.lines().next().and_then(|line| line.split_once(' ')).map_or("", |(_, status)| status);
            return Err(io::Error::other(format!("refused: {status}")));
        }
    }
}

fn judge(server: &Server, northbound: &Northbound, certificate: Option<&str>) -> Result<String, Refusal> {
    if !knows_origin(server.header("Origin"), northbound.origins.iter().map(String::as_bytes)) {
        return Err(Refusal::Forbidden);
    }
    let shown = server.header("Authorization").and_then(|shown| core::str::from_utf8(shown).ok());
    match (certificate, &northbound.secrets) {
        (Some(certificate), _) => Ok(certificate.to_owned()),
        (None, None) => Ok("somebody".to_owned()),
        (None, Some(secrets)) => shown.and_then(|shown| secrets.who(shown)).ok_or(Refusal::Unauthorized),
    }
}
