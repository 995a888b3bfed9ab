use std::ops::Deref;

use serde::Deserialize;

/// What somebody has typed: a thousand bytes at most, and none of them zero, which PostgreSQL has no place for.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Text(String);

const LONGEST: usize = 1_000;

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text {
            text if text.len() > LONGEST => Err("it is too long"),
            text if text.contains('\0') => Err("a zero is in it"),
            text => Ok(Self(text)),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}
