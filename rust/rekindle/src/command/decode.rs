// SPDX-License-Identifier: Apache-2.0
//! `decode`: what a captured byte stream says.

use std::io::{self, Read};

use fusain::{Decoder, Message, message_code, message_name};
use serde_json::{Map, Value, json};

use crate::cli;
use crate::exit::{Exit, Failure, Outcome};
use crate::message_json;
use crate::output::{hex, print_line};

/// Prints one JSON line per packet or framing error, whatever the output form: a line is for programs anyway.
pub(crate) fn run(args: &cli::Decode) -> Outcome {
    let mut lines = Lines { decoder: Decoder::new(), offset: 0 };
    let mut digits = HexDigits::default();
    let mut input = io::stdin().lock();
    let mut buffer = [0; 4096];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::new(Exit::Input, format!("cannot read standard input: {error}")));
            }
        };
        for &byte in buffer.get(..count).unwrap_or_default() {
            if args.hex {
                if let Some(byte) = digits.push(byte)? {
                    lines.push(byte)?;
                }
            } else {
                lines.push(byte)?;
            }
        }
    }
    digits.finish()?;
    lines.finish()
}

/// Decodes and prints.
struct Lines {
    decoder: Decoder,
    /// Bytes seen so far.
    offset: u64,
}

impl Lines {
    fn push(&mut self, byte: u8) -> Outcome {
        let end = self.offset;
        self.offset += 1;
        match self.decoder.push(byte) {
            None => Ok(()),
            Some(Ok(packet)) => {
                let mut line = Map::new();
                line.insert("end".to_owned(), json!(end));
                line.insert("address".to_owned(), json!(packet.address.to_string()));
                match Message::decode(packet.payload) {
                    Ok(message) => line.extend(message_json::message(&message)),
                    Err(error) => {
                        let code = message_code(packet.payload).ok();
                        if let Some(code) = code {
                            line.insert("type".to_owned(), json!(message_name(code)));
                            line.insert("code".to_owned(), json!(code));
                        }
                        line.insert("error".to_owned(), json!(error.to_string()));
                        line.insert("payload".to_owned(), json!(hex(packet.payload)));
                    }
                }
                print_line(&Value::Object(line).to_string())
            }
            Some(Err(error)) => self.framing_error(end, &error.to_string()),
        }
    }

    fn finish(&mut self) -> Outcome {
        if self.decoder.reset() {
            self.framing_error(self.offset, "the stream ends inside a frame")?;
        }
        Ok(())
    }

    fn framing_error(&self, end: u64, text: &str) -> Outcome {
        print_line(&json!({ "end": end, "framing_error": text }).to_string())
    }
}

/// Pairs of hexadecimal digits; white space may stand between bytes.
#[derive(Default)]
struct HexDigits {
    high: Option<u32>,
    line: u64,
}

impl HexDigits {
    fn push(&mut self, character: u8) -> Outcome<Option<u8>> {
        let character = char::from(character);
        if character.is_ascii_whitespace() && self.high.is_none() {
            self.line += u64::from(character == '\n');
            return Ok(None);
        }
        let Some(digit) = character.to_digit(16) else {
            let line = self.line + 1;
            let wrong = if character.is_ascii_whitespace() {
                "half a byte: one hexadecimal digit stands alone".to_owned()
            } else {
                format!("{character:?} is not a hexadecimal digit")
            };
            return Err(Failure::new(Exit::Input, format!("standard input, line {line}: {wrong}"))
                .next("write every byte as two digits, such as 7E 04 11; leave --hex out for binary input"));
        };
        match self.high.take() {
            None => {
                self.high = Some(digit);
                Ok(None)
            }
            Some(high) => Ok(u8::try_from(high * 16 + digit).ok()),
        }
    }

    fn finish(&self) -> Outcome {
        match self.high {
            None => Ok(()),
            Some(_) => Err(Failure::new(Exit::Input, "standard input ends in the middle of a byte")),
        }
    }
}
