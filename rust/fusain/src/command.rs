// SPDX-License-Identifier: Apache-2.0
//! What a device that receives an update understands, and nothing else (PROTOCOL.md §5).

use crate::cbor::message_code;
use crate::error::DecodeError;
use crate::extension::ExtensionRequest;
use crate::ota::{OtaAbort, OtaActivate, OtaData, OtaQuery, OtaStart, OtaVerify};

/// A command of an update.
///
/// Decoding it links no other message, and no floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// OTA_START.
    Start(OtaStart),
    /// OTA_DATA.
    Data(OtaData<'a>),
    /// OTA_VERIFY.
    Verify(OtaVerify),
    /// OTA_ACTIVATE.
    Activate(OtaActivate),
    /// OTA_QUERY.
    Query,
    /// OTA_ABORT.
    Abort,
    /// A request of the extension message.
    Extension(ExtensionRequest),
}

impl<'a> Command<'a> {
    /// Decodes a payload; `None` if it is well enveloped but no command of an update.
    ///
    /// # Errors
    ///
    /// A payload without an envelope, or a command whose content is wrong;
    /// [`DecodeError::invalid_command`] is the answer to it.
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match message_code(payload)? {
            OtaStart::CODE => Self::Start(OtaStart::decode(payload)?),
            OtaData::CODE => Self::Data(OtaData::decode(payload)?),
            OtaVerify::CODE => Self::Verify(OtaVerify::decode(payload)?),
            OtaActivate::CODE => Self::Activate(OtaActivate::decode(payload)?),
            OtaQuery::CODE => OtaQuery::decode(payload).map(|_| Self::Query)?,
            OtaAbort::CODE => OtaAbort::decode(payload).map(|_| Self::Abort)?,
            ExtensionRequest::CODE => Self::Extension(ExtensionRequest::decode(payload)?),
            _ => return Ok(None),
        }))
    }
}
