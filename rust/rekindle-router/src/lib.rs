// SPDX-License-Identifier: Apache-2.0
//! The controller daemon: [`rekindle_relay`] over real serial ports, TCP, TLS and WebSocket, with a directory as its
//! store.
//!
//! One thread owns the core and the store, and carries out what the core wants. Northbound connections are tasks of
//! one more thread; each southbound link has two threads of its own. They all send the core's thread what they
//! hear, within [`limits`].
#![cfg(unix)]

pub mod config;
mod engine;
pub mod limits;
mod link;
mod northbound;
mod packet;
pub mod root_file;
mod secrets;
pub mod store;
mod tls;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use config::{Northbound, Settings};
use engine::{Engine, Input};
use limits::LINKS_MAX;
use rekindle_relay::{AuditRecord, File, Routing};
use store::{DirStore, StoreError};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("cannot listen on {url}")]
    Listen {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The core refuses its configuration.
    #[error(transparent)]
    Config(#[from] rekindle_relay::ConfigError),
    /// The operating system refuses a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A daemon that has its store and its addresses, and does not work yet.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    store: DirStore,
    listeners: Vec<(TcpListener, Northbound)>,
    targets: Vec<String>,
}

impl Daemon {
    /// Locks the store and binds the addresses.
    ///
    /// # Errors
    /// [`StartError`] says what cannot be had.
    pub fn open(settings: Settings) -> Result<Self, StartError> {
        let store = DirStore::open(&settings.store)?;
        let mut listeners = Vec::new();
        let mut targets = Vec::new();
        for northbound in &settings.listeners {
            let (scheme, host) = (northbound.scheme.name(), bracketed(&northbound.host));
            let url = |port: u16| format!("{scheme}://{host}:{port}");
            let bound = bind(&northbound.host, northbound.port);
            let (listener, port) =
                bound.map_err(|source| StartError::Listen { url: url(northbound.port), source })?;
            targets.push(url(port));
            listeners.push((listener, northbound.clone()));
        }
        Ok(Self { settings, store, listeners, targets })
    }

    /// Where clients reach it: one URL for each listener, with the port that port 0 turned into.
    #[must_use]
    pub fn targets(&self) -> &[String] {
        &self.targets
    }

    /// Works until `stop` is set.
    ///
    /// # Errors
    /// [`StartError`] when it cannot begin.
    pub fn run(self, stop: &Arc<AtomicBool>) -> Result<(), StartError> {
        for (file, revoked) in &self.settings.key_files {
            tracing::info!(file = %file.display(), revoked, "key");
        }
        if !self.settings.key_files.iter().any(|(_, revoked)| !revoked) {
            tracing::warn!("no key is trusted: every image will be refused");
        }
        if self.settings.routing == Routing::Transparent {
            tracing::warn!(
                "routing is transparent: images are neither judged nor recorded, whoever sends them"
            );
        }
        // A link more than there is would let the core wait for it; a single one lets it look for appliances that
        // nobody has announced.
        match self.settings.links.len() {
            1 => self.work::<1>(stop),
            _ => self.work::<LINKS_MAX>(stop),
        }
    }

    fn work<const L: usize>(self, stop: &Arc<AtomicBool>) -> Result<(), StartError> {
        let (sender, inputs): (Sender<Input>, Receiver<Input>) = channel();
        let mut engine: Engine<L> = Engine::new(&self.settings, self.store)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("northbound")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let shared = northbound::Shared::new(sender.clone());
        for (listener, northbound) in self.listeners {
            let url = format!("{}://{}:{}", northbound.scheme.name(), northbound.host, northbound.port);
            let _within = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)
                .map_err(|source| StartError::Listen { url, source })?;
            runtime.spawn(northbound::serve(listener, northbound, shared.clone()));
        }
        let mut links = Vec::new();
        for (number, link) in self.settings.links.into_iter().enumerate() {
            let (sender, stop) = (sender.clone(), Arc::clone(stop));
            let Ok(number) = u8::try_from(number) else { continue };
            let thread = thread::Builder::new().name(format!("link {}", link.name));
            let thread = thread.spawn(move || link::keep(number, &link, &sender, &stop));
            links.push(thread.map_err(StartError::Thread)?);
        }
        engine.run(&inputs, stop);
        // Also where the core ended by itself.
        stop.store(true, Ordering::Relaxed);
        runtime.shutdown_timeout(Duration::from_secs(1));
        for link in links {
            let _ = link.join();
        }
        tracing::info!("controller has stopped");
        Ok(())
    }
}

fn bind(host: &str, port: u16) -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((host, port))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// What the store has on record about root mode, the oldest first. The daemon may be at work meanwhile.
///
/// # Errors
/// A file that cannot be read, with its name.
pub fn audit(store: &Path) -> Result<Vec<AuditRecord>, (PathBuf, io::Error)> {
    let mut records = Vec::new();
    for file in [File::AuditOld, File::Audit] {
        let path = store.join(store::name(file));
        match std::fs::read(&path) {
            Ok(bytes) => records.extend(bytes.chunks(AuditRecord::LEN).map_while(AuditRecord::decode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((path, error)),
        }
    }
    Ok(records)
}
