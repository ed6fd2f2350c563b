// SPDX-License-Identifier: Apache-2.0
//! The server's side of TLS.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What a listener with TLS needs.
pub(crate) struct ServerTls(pub(crate) TlsAcceptor);

impl core::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Reads certificate and key, and the certificates that clients' must come from, with whether one is required.
pub(crate) fn server(
    certificate: &Path,
    private_key: &Path,
    clients: Option<(&Path, bool)>,
) -> Result<ServerTls, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(private_key)
        .map_err(|error| format!("cannot use the private key {}: {error}", private_key.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((ca, required)) => {
            let unusable = |error: &dyn core::fmt::Display| format!("cannot use {}: {error}", ca.display());
            let mut roots = RootCertStore::empty();
            for root in certificates(ca)? {
                roots.add(root).map_err(|error| unusable(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        format!("{} and {} do not go together: {error}", certificate.display(), private_key.display())
    })?;
    Ok(ServerTls(TlsAcceptor::from(Arc::new(config))))
}

/// The certificates of a PEM file, one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |error: &dyn core::fmt::Display| format!("cannot use {}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
    if all.is_empty() { Err(unusable(&"it holds no certificate")) } else { Ok(all) }
}
