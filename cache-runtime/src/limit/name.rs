//! What is limited, by name: as this process looks it up, and as it is called in Redis.
//!
//! A name has two forms, as a key has. In memory it is the scope (the template, and the kind of rule)
//! and the parts of the key in canonical bytes, compared whole. Of a scope, and of parts that are long,
//! it is their SHA-256 that is compared, so that a name is small whatever a caller sends.

use std::{
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
};

use hmac_sha256::Hash as Sha256;

use super::{Kind, Method, Rule};
use crate::key::{KeyBytes, KeyText, function_of};

/// A name, as it is looked up in memory.
#[derive(Debug, Clone, Copy, Eq)]
pub(super) struct Name {
    scope: Scope,
    /// The parts and their length, or their SHA-256 and what no length is.
    parts: [u64; PLACE / 8],
}

/// So long, with a byte for their length: all that a `KeyBytes` has in place.
const PLACE: usize = 40;

const DIGEST: u8 = u8::MAX;

/// What the names of one template have in common, under one kind of rule. Two functions with one
/// template have one, and so have a `Limiter` and a template that begins as it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope([u64; 2]);

/// What the names of a scope are made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Title<'a> {
    /// `login:{}`
    Template(&'static str),
    /// The path of a closure in a function. That of the function itself is made of it where it is wanted:
    /// a call wants it for Redis alone.
    Function(&'static str),
    /// `login`, and a key behind it: as the template above.
    Named(&'a str),
}

impl Name {
    #[inline]
    pub(super) fn new(scope: Scope, key: &KeyBytes) -> Self {
        let (mut integer, mut bytes) = ([0; 9], [0; PLACE]);
        let parts = key.as_slice(&mut integer);
        let length = if let Some(place) = bytes.get_mut(..parts.len())
            && parts.len() < PLACE
        {
            place.copy_from_slice(parts);
            parts.len() as u8
        } else {
            bytes[..32].copy_from_slice(&Sha256::hash(parts));
            DIGEST
        };
        bytes[PLACE - 1] = length;
        Self { scope, parts: words(&bytes) }
    }
}

// Word by word: as bytes, both would take twice as long. By arrays whose lengths the compiler knows: a chain
// of the two it may leave as a loop that asks of each word where it is from.
impl PartialEq for Name {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let mut differ = 0;
        for (one, other) in self.scope.0.into_iter().zip(other.scope.0) {
            differ |= one ^ other;
        }
        for (one, other) in self.parts.into_iter().zip(other.parts) {
            differ |= one ^ other;
        }
        differ == 0
    }
}

impl Hash for Name {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.scope.0 {
            state.write_u64(word);
        }
        for word in self.parts {
            state.write_u64(word);
        }
    }
}

impl Scope {
    pub(super) fn new(title: Title<'_>, rule: Rule) -> Self {
        let mut text = String::new();
        let _ = match title {
            Title::Template(template) => write!(text, "{}:t{template}", Class(rule)),
            Title::Function(path) => write!(text, "{}:f{}", Class(rule), function_of(path)),
            Title::Named(name) => {
                let name = name.replace('{', "{{").replace('}', "}}");
                write!(text, "{}:t{name}:{{}}", Class(rule))
            }
        };
        Self(words(&Sha256::hash(text.as_bytes())))
    }
}

/// As many as are wanted.
#[inline]
fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
}

/// How the name is called in Redis: `:limit:shop:gcra:60000000:login:7`. No key of an entry begins with a colon, and
/// no service has one in its name.
pub(super) fn key(service: &str, title: Title<'_>, rule: Rule, key: &KeyBytes) -> String {
    let integer = &mut [0; 9];
    let parts = key.as_slice(integer);
    let text = match title {
        Title::Template(template) => KeyText::of_tag(template, parts),
        Title::Function(path) => KeyText::of_path(function_of(path)),
        Title::Named(name) => KeyText::of_named(name, parts),
    };
    text.to_text_of(&format!(":limit:{service}:{}", Class(rule)))
}

/// What one name cannot have two of: an algorithm, and a time. So that two limits of one key, so many a second
/// and so many a day, are two.
struct Class(Rule);

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            Method::Gcra(gcra) => write!(f, "gcra:{}", gcra.per()),
            Method::Window(window) => {
                let kind = match window.kind() {
                    Kind::Fixed => "fixed",
                    Kind::Sliding => "sliding",
                };
                write!(f, "{kind}:{}", window.per())
            }
        }
    }
}
