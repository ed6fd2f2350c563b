// SPDX-License-Identifier: Apache-2.0
//! What a device that receives an update understands, and nothing else (PROTOCOL.md §5).

use crate::cbor::message_code;
use crate::error::DecodeError;
use crate::extension::ExtensionRequest;
use crate::fields::{Fields, Load as _};
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
    #[inline(never)]
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let code = message_code(payload)?;
        if !matches!(code, OtaStart::CODE..=OtaQuery::CODE | ExtensionRequest::CODE | OtaAbort::CODE) {
            return Ok(None);
        }
        let mut fields = Fields::walked(payload, code);
        let command = match code {
            OtaStart::CODE => Self::Start(OtaStart::load(&mut fields)),
            OtaData::CODE => Self::Data(OtaData::load(&mut fields)),
            OtaVerify::CODE => Self::Verify(OtaVerify::load(&mut fields)),
            OtaActivate::CODE => Self::Activate(OtaActivate::load(&mut fields)),
            OtaQuery::CODE => Self::Query,
            OtaAbort::CODE => Self::Abort,
            // What is not ours is no error, whatever its shape.
            _ => Self::Extension(ExtensionRequest::load(&mut fields)),
        };
        fields.finish(Some(command))
    }
}
