// SPDX-License-Identifier: Apache-2.0
//! Every message in one enumeration: for controllers, monitors and tools (PROTOCOL.md §4).

use crate::address::Address;
use crate::cbor::{Writer, message_code};
use crate::error::{DecodeError, EncodeError};
use crate::{PAYLOAD_MAX, control, encode_frame, error, extension, ota, telemetry};

/// Makes the enumeration, and what has to be said once per message, from one table.
macro_rules! catalogue {
    (
        with { $( $name:literal $variant:ident($module:ident $(<$life:lifetime>)?), )* }
        empty { $( $ename:literal $evariant:ident($emodule:ident), )* }
    ) => {
        /// A message of the protocol.
        ///
        /// The names are those of PROTOCOL.md §4 to §7; each variant's type documents its fields.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
        pub enum Message<'a> {
            $( #[doc = $name] $variant($module::$variant $(<$life>)?), )*
            $( #[doc = $ename] $evariant, )*
            /// A type this crate does not know.
            Unknown {
                /// The type.
                code: u8,
            },
        }

        impl<'a> Message<'a> {
            /// Decodes a payload. A type that is not known is no error.
            ///
            /// # Errors
            ///
            /// A payload without an envelope, or one whose content is not what its type asks for.
            pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
                Ok(match message_code(payload)? {
                    $( $module::$variant::CODE => Self::$variant($module::$variant::decode(payload)?), )*
                    $( $emodule::$evariant::CODE =>
                        $emodule::$evariant::decode(payload).map(|_| Self::$evariant)?, )*
                    code => Self::Unknown { code },
                })
            }

            /// Encodes the payload into `out` and returns its length in bytes. An unknown type is encoded
            /// without content.
            ///
            /// # Errors
            ///
            /// `out` is too short, or the payload would be longer than a frame can carry.
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
                match self {
                    $( Self::$variant(message) => message.encode(out), )*
                    $( Self::$evariant => $emodule::$evariant.encode(out), )*
                    Self::Unknown { code } => Writer::open(out, *code).finish(),
                }
            }

            /// Returns the message's code on the wire.
            #[must_use]
            pub const fn code(&self) -> u8 {
                match self {
                    $( Self::$variant(_) => $module::$variant::CODE, )*
                    $( Self::$evariant => $emodule::$evariant::CODE, )*
                    Self::Unknown { code } => *code,
                }
            }
        }

        /// Returns the protocol's name of a message type, if it has one.
        #[must_use]
        pub const fn message_name(code: u8) -> Option<&'static str> {
            match code {
                $( $module::$variant::CODE => Some($name), )*
                $( $emodule::$evariant::CODE => Some($ename), )*
                _ => None,
            }
        }
    };
}

catalogue! {
    with {
        "MOTOR_CONFIG" MotorConfig(control),
        "PUMP_CONFIG" PumpConfig(control),
        "TEMP_CONFIG" TempConfig(control),
        "GLOW_CONFIG" GlowConfig(control),
        "DATA_SUBSCRIPTION" DataSubscription(control),
        "DATA_UNSUBSCRIBE" DataUnsubscribe(control),
        "TELEMETRY_CONFIG" TelemetryConfig(control),
        "TIMEOUT_CONFIG" TimeoutConfig(control),
        "STATE_COMMAND" StateCommand(control),
        "MOTOR_COMMAND" MotorCommand(control),
        "PUMP_COMMAND" PumpCommand(control),
        "GLOW_COMMAND" GlowCommand(control),
        "TEMP_COMMAND" TempCommand(control),
        "SEND_TELEMETRY" SendTelemetry(control),
        "STATE_DATA" StateData(telemetry),
        "MOTOR_DATA" MotorData(telemetry),
        "PUMP_DATA" PumpData(telemetry),
        "GLOW_DATA" GlowData(telemetry),
        "TEMP_DATA" TempData(telemetry),
        "DEVICE_ANNOUNCE" DeviceAnnounce(telemetry),
        "PING_RESPONSE" PingResponse(telemetry),
        "OTA_START" OtaStart(ota),
        "OTA_DATA" OtaData(ota<'a>),
        "OTA_VERIFY" OtaVerify(ota),
        "OTA_ACTIVATE" OtaActivate(ota),
        "OTA_STATUS" OtaStatus(ota),
        "EXTENSION" Extension(extension),
        "ERROR_INVALID_CMD" InvalidCommand(error),
        "ERROR_STATE_REJECT" StateReject(error),
    }
    empty {
        "DISCOVERY_REQUEST" DiscoveryRequest(control),
        "PING_REQUEST" PingRequest(control),
        "OTA_QUERY" OtaQuery(ota),
        "OTA_ABORT" OtaAbort(ota),
    }
}

impl Message<'_> {
    /// Encodes the message into `out` as a whole frame and returns the frame's length in bytes.
    ///
    /// # Errors
    ///
    /// `out` is shorter than the frame ([`FRAME_MAX`](crate::FRAME_MAX) always suffices), or the payload would be
    /// longer than a frame can carry.
    pub fn encode_frame(&self, address: Address, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut payload = [0; PAYLOAD_MAX];
        let length = self.encode(&mut payload)?;
        encode_frame(address, payload.get(..length).unwrap_or_default(), out)
    }
}
