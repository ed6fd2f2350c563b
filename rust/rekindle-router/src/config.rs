// SPDX-License-Identifier: Apache-2.0
//! The configuration file. What is wrong with it is told with file, line and key, and what to do about it.

mod document;
mod error;

use core::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fusain::Address;
use mcuboot_image::key::PublicKey;
use mcuboot_image::sign::{class_uuid, vendor_uuid};
use rekindle_client::target::{self, Target};
use rekindle_relay::{Keys, Routing, TrustedKey};
use toml::Spanned;

use crate::limits::{APPLIANCES_MAX, LINKS_MAX};
use crate::secrets::Secrets;
use crate::tls::{self, ServerTls};
use document::{ApplianceEntry, ClientCertificate, Document, KeyEntry, LinkEntry, ListenEntry};
pub use error::ConfigError;
use error::Place;

/// Where the configuration is unless somebody says otherwise.
pub const PATH_DEFAULT: &str = "/etc/rekindle/relay.toml";

/// Everything the daemon is told.
#[derive(Debug)]
pub struct Settings {
    pub(crate) store: PathBuf,
    pub(crate) routing: Routing,
    pub(crate) image_max: u32,
    pub(crate) takeover_ms: u32,
    pub(crate) root_mode_file: Option<PathBuf>,
    /// Whose file switches root mode: user id 0, but in tests.
    pub(crate) administrator: u32,
    pub(crate) keys: Keys,
    /// Keys in use, for the log: file, and whether it is revoked.
    pub(crate) key_files: Vec<(PathBuf, bool)>,
    pub(crate) listeners: Vec<Northbound>,
    pub(crate) links: Vec<Southbound>,
    pub(crate) appliances: Vec<Appliance>,
}

/// One address that clients connect to.
#[derive(Clone, Debug)]
pub(crate) struct Northbound {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) secrets: Option<Arc<Secrets>>,
    /// Pages that browsers may connect from.
    pub(crate) origins: Arc<[String]>,
}

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tcp,
    Tls,
    WebSocket,
    WebSocketTls,
}

impl Scheme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::WebSocket => "ws",
            Self::WebSocketTls => "wss",
        }
    }

    const fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketTls)
    }

    pub(crate) const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }

    const fn port_default(self) -> u16 {
        match self {
            Self::Tcp => target::TCP_PORT_DEFAULT,
            Self::Tls => target::TLS_PORT_DEFAULT,
            Self::WebSocket => target::WEBSOCKET_PORT_DEFAULT,
            Self::WebSocketTls => target::WEBSOCKET_TLS_PORT_DEFAULT,
        }
    }
}

/// One bus.
#[derive(Clone, Debug)]
pub(crate) struct Southbound {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) window: u8,
    /// What its appliances take, but for one that names something itself.
    pub(crate) product: rekindle_relay::Target,
}

/// An appliance that is known beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Appliance {
    pub(crate) address: Address,
    pub(crate) link: u8,
    pub(crate) product: rekindle_relay::Target,
}

impl Settings {
    /// Reads the configuration and every file it names.
    ///
    /// # Errors
    /// [`ConfigError`] names file, line and key, and says what to do.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        Self::parse(path, &text)
    }

    /// Reads a configuration that stands in `text`; `path` is where it came from, and relative paths in it start
    /// from there.
    ///
    /// # Errors
    /// [`ConfigError`] names file, line and key, and says what to do.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document: Document =
            toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        let reader =
            Reader { folder: path.parent().unwrap_or_else(|| Path::new("")), place: Place { path, text } };
        reader.settings(document)
    }

    /// Lets files of this user switch root mode, instead of those of user 0.
    ///
    /// For tests, which do not run as the administrator of their machine.
    #[doc(hidden)]
    #[must_use]
    pub fn with_administrator(mut self, user: u32) -> Self {
        self.administrator = user;
        self
    }

    /// The directory of the store.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The file that asks for root mode, where one is configured.
    #[must_use]
    pub fn root_mode_file(&self) -> Option<&Path> {
        self.root_mode_file.as_deref()
    }
}

/// Two links would be on one line, whatever else is said of it.
fn is_same_line(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::Serial(one), Target::Serial(other)) => one.path == other.path,
        (one, other) => one == other,
    }
}

/// Largest image where the configuration names none, in bytes.
const IMAGE_MAX_DEFAULT: u32 = 16 * 1024 * 1024;
/// Idle time in seconds after which another image takes the store over, where the configuration names none.
const TAKEOVER_DEFAULT: u32 = 60;
/// Largest that can be asked for.
const IMAGE_MAX: u32 = 256 * 1024 * 1024;

struct Reader<'a> {
    folder: &'a Path,
    place: Place<'a>,
}

impl Reader<'_> {
    fn settings(&self, document: Document) -> Result<Settings, ConfigError> {
        let (keys, key_files) = self.keys(&document.key)?;
        let links = self.links(&document.link)?;
        let appliances = self.appliances(&document.appliance, &links)?;
        if document.listen.is_empty() {
            return Err(self.place.missing("listen", "add a [[listen]] section with a url"));
        }
        let listeners = document.listen.iter().map(|entry| self.listener(entry)).collect::<Result<_, _>>()?;
        let image_max = match &document.image_max {
            None => IMAGE_MAX_DEFAULT,
            Some(max) if (32..=IMAGE_MAX).contains(max.as_ref()) => *max.as_ref(),
            Some(max) => {
                let what = format!("expected 32 to {IMAGE_MAX} bytes");
                return Err(self.place.wrong(max, "image-max", what));
            }
        };
        let takeover_seconds = match &document.takeover_seconds {
            None => TAKEOVER_DEFAULT,
            Some(seconds) if *seconds.get_ref() > 0 => *seconds.get_ref(),
            Some(seconds) => {
                let what = "expected 1 second or more: with none, clients take the store from each other";
                return Err(self.place.wrong(seconds, "takeover-seconds", what.to_owned()));
            }
        };
        Ok(Settings {
            store: self.file(document.store.as_ref()),
            routing: document.routing.into(),
            image_max,
            takeover_ms: takeover_seconds.saturating_mul(1000),
            root_mode_file: document.root_mode_file.as_ref().map(|path| self.file(path)),
            administrator: 0,
            keys,
            key_files,
            listeners,
            links,
            appliances,
        })
    }

    fn file(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    fn keys(&self, entries: &[KeyEntry]) -> Result<(Keys, Vec<(PathBuf, bool)>), ConfigError> {
        let mut keys = Vec::new();
        let mut files = Vec::new();
        for entry in entries {
            let path = self.file(entry.file.as_ref());
            let wrong = |what: String| self.place.wrong(&entry.file, "key.file", what);
            let pem = std::fs::read_to_string(&path)
                .map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
            if pem.contains("PRIVATE KEY") {
                return Err(wrong(format!(
                    "{} is a private key, which has no business on a controller: put the .pub.pem here",
                    path.display()
                )));
            }
            let key = PublicKey::from_pem(&pem)
                .map_err(|error| wrong(format!("{} is no key: {error}", path.display())))?;
            if let Some(twice) = keys.iter().position(|known: &TrustedKey| known.key == key) {
                let first = files.get(twice).map(|(file, _): &(PathBuf, bool)| file.display().to_string());
                return Err(wrong(format!(
                    "{} is the key of {} again: leave one of them out, and say `revoked = true` if it is \
                     not trusted any more",
                    path.display(),
                    first.unwrap_or_default()
                )));
            }
            keys.push(TrustedKey { key, revoked: entry.revoked });
            files.push((path, entry.revoked));
        }
        match (Keys::new(&keys), entries.last()) {
            (Some(keys), _) => Ok((keys, files)),
            (None, last) => {
                let what = format!(
                    "{} keys are more than a controller keeps: {} at most; leave out the oldest revoked one",
                    keys.len(),
                    rekindle_relay::KEYS_MAX
                );
                Err(match last {
                    Some(entry) => self.place.wrong(&entry.file, "key", what),
                    None => self.place.missing("key", &what),
                })
            }
        }
    }

    fn links(&self, entries: &[LinkEntry]) -> Result<Vec<Southbound>, ConfigError> {
        let mut links: Vec<Southbound> = Vec::new();
        for entry in entries {
            let target: Target = entry
                .url
                .as_ref()
                .parse()
                .map_err(|error| self.place.wrong(&entry.url, "link.url", format!("{error}")))?;
            if matches!(target, Target::Tls { .. } | Target::WebSocket { .. }) {
                let what = "a bus is reached over serial://, tcp:// or unix://".to_owned();
                return Err(self.place.wrong(&entry.url, "link.url", what));
            }
            if let Some(link) = links.iter().find(|link| is_same_line(&link.target, &target)) {
                let what = format!("link `{}` is at this address already", link.name);
                return Err(self.place.wrong(&entry.url, "link.url", what));
            }
            let name = entry.name.as_ref();
            if links.iter().any(|link| link.name == *name) {
                let what = format!("another link is called `{name}` already");
                return Err(self.place.wrong(&entry.name, "link.name", what));
            }
            if links.len() == LINKS_MAX {
                let what = format!("a controller has {LINKS_MAX} links at most");
                return Err(self.place.wrong(&entry.name, "link", what));
            }
            let product = self.product("link", &entry.vendor, &entry.class)?;
            links.push(Southbound { name: name.clone(), target, window: entry.window.get(), product });
        }
        if links.is_empty() {
            return Err(self.place.missing("link", "add a [[link]] section with a name and a url"));
        }
        Ok(links)
    }

    fn appliances(
        &self,
        entries: &[ApplianceEntry],
        links: &[Southbound],
    ) -> Result<Vec<Appliance>, ConfigError> {
        let mut appliances: Vec<Appliance> = Vec::new();
        for entry in entries {
            let address: Address =
                entry.address.as_ref().parse().map_err(|error| {
                    self.place.wrong(&entry.address, "appliance.address", format!("{error}"))
                })?;
            let wrong = |what: &str| self.place.wrong(&entry.address, "appliance.address", what.to_owned());
            if !address.is_device() {
                return Err(wrong("this address means everybody, or the controller itself"));
            }
            if appliances.iter().any(|known| known.address == address) {
                return Err(wrong("this appliance is here twice"));
            }
            if appliances.len() == APPLIANCES_MAX {
                return Err(wrong(&format!("a controller keeps {APPLIANCES_MAX} appliances at most")));
            }
            let link = links.iter().position(|link| link.name == *entry.link.as_ref());
            let Some(link) = link.and_then(|link| u8::try_from(link).ok()) else {
                let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
                let what = format!("no link has this name; there are: {}", names.join(", "));
                return Err(self.place.wrong(&entry.link, "appliance.link", what));
            };
            let product = self.product("appliance", &entry.vendor, &entry.class)?;
            appliances.push(Appliance { address, link, product });
        }
        Ok(appliances)
    }

    /// Vendor and class in a section of this name.
    fn product(
        &self,
        section: &str,
        vendor: &Option<Spanned<String>>,
        class: &Option<Spanned<String>>,
    ) -> Result<rekindle_relay::Target, ConfigError> {
        let wrong = |text, key: &str, what: &dyn core::fmt::Display| {
            self.place.wrong(text, &format!("{section}.{key}"), what.to_string())
        };
        let vendor = match vendor {
            None => None,
            Some(text) => Some(vendor_uuid(text.as_ref()).map_err(|error| wrong(text, "vendor", &error))?),
        };
        let class = match class {
            None => None,
            Some(text) => {
                Some(class_uuid(vendor, text.as_ref()).map_err(|error| wrong(text, "class", &error))?)
            }
        };
        Ok(rekindle_relay::Target { vendor, class })
    }

    fn listener(&self, entry: &ListenEntry) -> Result<Northbound, ConfigError> {
        let wrong = |what: String| self.place.wrong(&entry.url, "listen.url", what);
        let url = entry.url.as_ref();
        let scheme = match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("tcp") => Scheme::Tcp,
            Some("tls") => Scheme::Tls,
            Some("ws") => Scheme::WebSocket,
            Some("wss") => Scheme::WebSocketTls,
            _ => return Err(wrong("expected tcp://, tls://, ws:// or wss:// with host and port".to_owned())),
        };
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let rest = if scheme.is_websocket() { rest.strip_suffix("/fusain").unwrap_or(rest) } else { rest };
        let (host, port) = target::host_and_port(url, rest).map_err(|error| wrong(error.to_string()))?;
        let tls = self.tls(entry, scheme)?;
        let secrets = match &entry.secrets {
            None => None,
            Some(path) if !scheme.is_websocket() => {
                let what = "users and tokens are for ws:// and wss://; a byte stream cannot carry them";
                return Err(self.place.wrong(path, "listen.secrets", what.to_owned()));
            }
            Some(path) => {
                let read = Secrets::read(&self.file(path.as_ref()));
                Some(Arc::new(read.map_err(|what| self.place.wrong(path, "listen.secrets", what))?))
            }
        };
        let origins =
            entry.origins.iter().map(|origin| self.origin(origin, scheme)).collect::<Result<_, _>>()?;
        let known = secrets.is_some()
            || entry.client_certificate.as_ref().is_some_and(ClientCertificate::is_required);
        if !known && !entry.anyone && !is_loopback(&host) {
            return Err(wrong(format!(
                "whoever reaches {host} could update your devices: ask for {}, or say `anyone = true`",
                match scheme {
                    Scheme::Tcp => "a certificate with tls://, or listen on 127.0.0.1",
                    Scheme::Tls => "a certificate with client-certificate = \"required\"",
                    Scheme::WebSocket | Scheme::WebSocketTls => "credentials with secrets = \"FILE\"",
                }
            )));
        }
        let port = port.unwrap_or_else(|| scheme.port_default());
        Ok(Northbound { scheme, host, port, tls, secrets, origins })
    }

    /// A page's origin as a browser names it: scheme, host and a port that is not the scheme's.
    fn origin(&self, origin: &Spanned<String>, scheme: Scheme) -> Result<String, ConfigError> {
        let wrong = |what: &str| self.place.wrong(origin, "listen.origins", what.to_owned());
        if !scheme.is_websocket() {
            return Err(wrong("browsers connect to ws:// and wss:// alone"));
        }
        let text = origin.as_ref();
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if text != "*" && host.is_none_or(|host| host.is_empty() || host.contains(['/', ' ', '*'])) {
            return Err(wrong(
                "expected the page's scheme and host, such as \"https://desk.example\", or \"*\" for all",
            ));
        }
        Ok(text.to_owned())
    }

    fn tls(&self, entry: &ListenEntry, scheme: Scheme) -> Result<Option<Arc<ServerTls>>, ConfigError> {
        let given = [
            (&entry.certificate, "listen.certificate"),
            (&entry.private_key, "listen.private-key"),
            (&entry.client_ca, "listen.client-ca"),
        ];
        if !scheme.has_tls() {
            return match given.into_iter().find_map(|(file, key)| file.as_ref().map(|file| (file, key))) {
                Some((file, key)) => {
                    let what = format!("{}:// has no TLS: use tls:// or wss://", scheme.name());
                    Err(self.place.wrong(file, key, what))
                }
                None => Ok(None),
            };
        }
        let needed = |file: &Option<Spanned<PathBuf>>, key: &str| match file {
            Some(file) => Ok(self.file(file.as_ref())),
            None => Err(self.place.wrong(&entry.url, key, "this url needs it, a file in PEM".to_owned())),
        };
        let certificate = needed(&entry.certificate, "listen.certificate")?;
        let private_key = needed(&entry.private_key, "listen.private-key")?;
        let clients = match (&entry.client_ca, &entry.client_certificate) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(needed(&None, "listen.client-ca").err().unwrap_or_else(|| {
                    self.place.missing("listen.client-ca", "name the certificates that clients' come from")
                }));
            }
            (Some(file), asks) => {
                let required = asks.as_ref().is_none_or(ClientCertificate::is_required);
                Some((self.file(file.as_ref()), required))
            }
        };
        tls::server(
            &certificate,
            &private_key,
            clients.as_ref().map(|(ca, required)| (ca.as_path(), *required)),
        )
        .map(|tls| Some(Arc::new(tls)))
        .map_err(|what| self.place.wrong(&entry.url, "listen", what))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
