// SPDX-License-Identifier: Apache-2.0
//! The configuration file as it is written, key by key.

use core::num::NonZeroU8;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Document {
    pub(super) store: Spanned<PathBuf>,
    #[serde(default)]
    pub(super) routing: RoutingName,
    pub(super) image_max: Option<Spanned<u32>>,
    pub(super) takeover_seconds: Option<Spanned<u32>>,
    pub(super) root_mode_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) key: Vec<KeyEntry>,
    #[serde(default)]
    pub(super) listen: Vec<ListenEntry>,
    #[serde(default)]
    pub(super) link: Vec<LinkEntry>,
    #[serde(default)]
    pub(super) appliance: Vec<ApplianceEntry>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RoutingName {
    #[default]
    StoreAndForward,
    Transparent,
}

impl From<RoutingName> for rekindle_relay::Routing {
    fn from(name: RoutingName) -> Self {
        match name {
            RoutingName::StoreAndForward => Self::StoreAndForward,
            RoutingName::Transparent => Self::Transparent,
        }
    }
}

/// `[[key]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KeyEntry {
    pub(super) file: Spanned<PathBuf>,
    #[serde(default)]
    pub(super) revoked: bool,
}

/// `[[listen]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ListenEntry {
    pub(super) url: Spanned<String>,
    pub(super) certificate: Option<Spanned<PathBuf>>,
    pub(super) private_key: Option<Spanned<PathBuf>>,
    pub(super) client_ca: Option<Spanned<PathBuf>>,
    pub(super) client_certificate: Option<ClientCertificate>,
    pub(super) secrets: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) origins: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) anyone: bool,
}

/// What is asked of clients with TLS.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ClientCertificate {
    /// Without one there is no connection.
    Required,
    /// One that is shown must be right, and then counts as credentials.
    Accepted,
}

impl ClientCertificate {
    pub(super) fn is_required(&self) -> bool {
        *self == Self::Required
    }
}

/// `[[link]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LinkEntry {
    pub(super) name: Spanned<String>,
    pub(super) url: Spanned<String>,
    #[serde(default = "window_default")]
    pub(super) window: NonZeroU8,
    pub(super) vendor: Option<Spanned<String>>,
    pub(super) class: Option<Spanned<String>>,
}

fn window_default() -> NonZeroU8 {
    NonZeroU8::MIN.saturating_add(15)
}

/// `[[appliance]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ApplianceEntry {
    pub(super) address: Spanned<String>,
    pub(super) link: Spanned<String>,
    pub(super) vendor: Option<Spanned<String>>,
    pub(super) class: Option<Spanned<String>>,
}
