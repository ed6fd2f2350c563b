// SPDX-License-Identifier: Apache-2.0
//! From HTTP to a WebSocket: the path, and who is asking.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::limits::MESSAGE_MAX;
use crate::secrets::Secrets;

/// The path that is served (PROTOCOL.md §10).
const PATH: &str = "/fusain";

/// Goes through the upgrade; says who asked. `certificate` is who has shown one already.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    secrets: Option<&Secrets>,
    certificate: Option<String>,
) -> io::Result<(WebSocketStream<S>, String)> {
    let mut who = Err(StatusCode::UNAUTHORIZED);
    // The size of the answer is the library's.
    #[expect(clippy::result_large_err, reason = "the callback's type is given")]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        who = judge(request, secrets, certificate);
        match &who {
            Ok(_) => Ok(response),
            Err(status) => Err(refusal(*status)),
        }
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(MESSAGE_MAX)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MESSAGE_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(stream, check, Some(config)).await;
    match (accepted, who) {
        (Ok(stream), Ok(who)) => Ok((stream, who)),
        (_, Err(StatusCode::UNAUTHORIZED)) => Err(io::Error::other("credentials are missing or wrong")),
        (Err(error), _) => Err(io::Error::other(error.to_string())),
        (_, Err(status)) => Err(io::Error::other(status.to_string())),
    }
}

fn judge(
    request: &Request,
    secrets: Option<&Secrets>,
    certificate: Option<String>,
) -> Result<String, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match (certificate, secrets) {
        (Some(certificate), _) => Ok(certificate),
        (None, None) => Ok("somebody".to_owned()),
        (None, Some(secrets)) => shown.and_then(|shown| secrets.who(shown)).ok_or(StatusCode::UNAUTHORIZED),
    }
}

fn refusal(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"fusain\", Bearer realm=\"fusain\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
