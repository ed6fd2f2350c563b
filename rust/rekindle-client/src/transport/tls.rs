// SPDX-License-Identifier: Apache-2.0
//! TLS over TCP: the target shows a certificate, and may ask for one.

use core::time::Duration;
use std::io::{self, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::stream::{Socket, Stream, dial, is_timeout};
use super::{CONNECT_TIMEOUT, ConnectError, Transport};
use crate::credentials::TlsFiles;
use crate::target::Target;

/// A connection with TLS on it.
pub(super) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// How long a target has for saying that it does not like the certificate it was shown. With TLS 1.3 it says so
/// after the client's side of the handshake is done; one that is content usually sends a ticket.
const VERDICT_TIMEOUT: Duration = Duration::from_millis(500);

impl Socket for TlsStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.sock.set_read_timeout(timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.sock.set_write_timeout(timeout)
    }
}

pub(super) fn connect(
    target: &Target,
    host: &str,
    port: u16,
    files: &TlsFiles,
) -> Result<Box<dyn Transport>, ConnectError> {
    let stream = open(target, host, port, files)?;
    match Stream::new(stream) {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(ConnectError::Network { target: target.clone(), source }),
    }
}

/// Connects, and goes through the handshake.
pub(super) fn open(
    target: &Target,
    host: &str,
    port: u16,
    files: &TlsFiles,
) -> Result<TlsStream, ConnectError> {
    let network = |source| ConnectError::Network { target: target.clone(), source };
    let refused = |reason: String| ConnectError::Tls { target: target.clone(), reason };
    let config = config(files)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| refused(error.to_string()))?;
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| refused(error.to_string()))?;
    let mut socket = dial(host, port).map_err(network)?;
    socket.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(network)?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT)).map_err(network)?;
    let failed = |error: io::Error| match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(error) => refused(error.to_string()),
        None => network(error),
    };
    connection.complete_io(&mut socket).map_err(failed)?;
    await_verdict(&mut connection, &mut socket).map_err(failed)?;
    Ok(StreamOwned::new(connection, socket))
}

fn await_verdict(connection: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(VERDICT_TIMEOUT))?;
    match connection.read_tls(socket) {
        Ok(_) => {}
        Err(error) if is_timeout(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    connection.process_new_packets().map_err(io::Error::other)?;
    // What came may be a first frame already: it stays where it is.
    match connection.reader().read(&mut []) {
        Ok(_) => Ok(()),
        Err(error) if is_timeout(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn config(files: &TlsFiles) -> Result<ClientConfig, ConnectError> {
    let unusable = |path: &Path, reason: String| ConnectError::File { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, error.to_string()))?;
            }
        }
        None => {
            // What cannot be read of the system's is not trusted; a target that needs it says so.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(Path::new("TLS"), error.to_string()))?
        .with_root_certificates(roots);
    match &files.identity {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.to_string()))?;
            config
                .with_client_auth_cert(chain, private)
                .map_err(|error| unusable(certificate, error.to_string()))
        }
    }
}

/// The certificates of a PEM file, one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let unusable = |reason: String| ConnectError::File { path: path.to_owned(), reason };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| unusable(error.to_string()))?;
    if all.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(all) }
}
