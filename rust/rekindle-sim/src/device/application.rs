// SPDX-License-Identifier: Apache-2.0
//! What the image in the primary slot does when it runs: a self-test whose result stands in the image.
//!
//! An image says what becomes of it by text anywhere in its body:
//!
//! | text | what the running image does |
//! |---|---|
//! | none | passes its self-test and confirms itself |
//! | `rekindle-self-test=fail:STAGE:CODE` | reports stage and code (decimal) and resets unconfirmed |
//! | `rekindle-self-test=hang` | runs on and never confirms itself |
//! | `rekindle-self-test=crash` | resets before it hears anything, every time |
//!
//! A self-test runs only while the image is under test; a permanent one keeps running, whatever it says.

/// What precedes the result in an image's body.
pub const MARKER: &str = "rekindle-self-test=";

/// How the running image's self-test ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfTest {
    /// It passes.
    #[default]
    Pass,
    /// It fails at a stage, with a code.
    Fail {
        /// The application's number of the stage.
        stage: u32,
        /// Its code.
        code: i32,
    },
    /// It never ends.
    Hang,
    /// The image does not even come so far.
    Crash,
}

impl SelfTest {
    /// The result that `image` asks for; [`SelfTest::Pass`] when it asks for nothing it could understand.
    #[must_use]
    pub fn of(image: &[u8]) -> Self {
        let marker = MARKER.as_bytes();
        let at = image.windows(marker.len()).position(|window| window == marker);
        let Some(at) = at else { return Self::Pass };
        let text = &image[at + marker.len()..];
        match text {
            [b'h', b'a', b'n', b'g', ..] => Self::Hang,
            [b'c', b'r', b'a', b's', b'h', ..] => Self::Crash,
            [b'f', b'a', b'i', b'l', b':', rest @ ..] => Self::failure(rest).unwrap_or_default(),
            _ => Self::Pass,
        }
    }

    fn failure(text: &[u8]) -> Option<Self> {
        let (stage, rest) = number(text)?;
        let (code, _) = number(rest.strip_prefix(b":")?)?;
        Some(Self::Fail { stage: stage.try_into().ok()?, code: code.try_into().ok()? })
    }
}

/// A decimal number of at most ten digits, and what follows it.
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, text) = match text.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let digits = text.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..digits].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    (digits > 0).then_some((sign * value, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers() {
        let of = |text: &str| SelfTest::of(format!("\u{7f}ELF..{text}\0tail").as_bytes());
        assert_eq!(of(""), SelfTest::Pass);
        assert_eq!(of("rekindle-self-test=fail:3:-7"), SelfTest::Fail { stage: 3, code: -7 });
        assert_eq!(of("rekindle-self-test=hang"), SelfTest::Hang);
        assert_eq!(of("rekindle-self-test=crash"), SelfTest::Crash);
        assert_eq!(of("rekindle-self-test=fail:3:7x"), SelfTest::Fail { stage: 3, code: 7 });
        assert_eq!(of("rekindle-self-test=fail:x:1"), SelfTest::Pass);
        assert_eq!(of("rekindle-self-test=fail:-1:1"), SelfTest::Pass);
        assert_eq!(of("rekindle-self-test=fail:1"), SelfTest::Pass);
        assert_eq!(of("rekindle-self-test="), SelfTest::Pass);
        assert_eq!(SelfTest::of(MARKER.as_bytes()), SelfTest::Pass);
    }
}
