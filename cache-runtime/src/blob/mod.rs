//! The bytes of a key in Redis. A key is one string in one of four states: absent, a *lease* of
//! the caller that runs the function, a *value*, or a *hold* of writers in the middle of a change.
//!
//! # Format 1
//!
//! Numbers are unsigned and big-endian. Times are milliseconds of the server's clock.
//!
//! | state | bytes |
//! |---|---|
//! | lease | `0x00`, flags (bit 0: awaited), token of 16 bytes |
//! | hold | `0x02`, flags (bit 0: contended), its writers, one or more: a token of 16 bytes, and 8 of the time until which it holds |
//! | value | `0x01`, the header, the payload |
//!
//! The header of a value:
//!
//! | at | size | is |
//! |---|---|---|
//! | 0 | 1 | `0x01`: a value, in every format |
//! | 1 | 1 | the format, 1 |
//! | 2 | 1 | flags: bits 0-1 the codec (0 JSON, 1 postcard), bits 2-3 the compression (0 none, 1 LZ4, 2 Zstandard), bit 4 it stands for a `None`, bit 5 it has tags, bit 6 awaited |
//! | 3 | 1 | the number of stamps, 1 to 9 |
//! | 4 | 8 | created: when the load began |
//! | 12 | 8 | fresh until |
//! | 20 | 8 | stale until: it is served so long, while one caller refreshes it |
//! | 28 | 8 | servable until: past it the value counts as absent, or as a lease if it has a token |
//! | 36 | 8 | refresh until: the election of the refresher, or a pause after an error, lasts so long |
//! | 44 | 16 | token of the elected refresher; zeros: nobody |
//! | 60 | 8 | what the run cost, in microseconds |
//! | 68 | 8 | fingerprint of the value's type and the function's version |
//! | 76 | 8 n | the stamps: the service's, then those of the tags |
//!
//! The payload follows. A compressed one begins with its decompressed length in 4 bytes.
//!
//! The scripts change flags, refresh until and token in place; everything else is written once.
//!
//! A value of a newer format is a miss and is left alone, so that in a rolling deploy old and new
//! processes do not erase each other's entries. Whatever else has another shape is a miss and is
//! replaced.

#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, unused_imports, reason = "but for the settings, of the tier in Redis alone")
)]

pub(crate) mod codec;
mod compress;
mod header;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, error, fmt};

use crate::error::Error;

pub(crate) use self::header::{Header, Stamps};
pub use self::{codec::Codec, compress::Compression};

/// What a payload may decompress to.
pub(crate) const MAX_DECOMPRESSED: usize = 64 << 20;

/// The longest string that Redis takes, as it is configured by default.
pub(crate) const MAX_BLOB: usize = 512 << 20;

const LEASE: u8 = 0;
const VALUE: u8 = 1;
const HOLD: u8 = 2;
const FORMAT: u8 = 1;
const TOKEN: usize = 16;
/// Of a hold.
const WRITER: usize = TOKEN + 8;

/// What the bytes of a key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    /// A value. Whether it is fresh, and of the right service and type, is the reader's to judge.
    Value {
        header: Header,
        /// Decompressed; borrowed if it was stored as it is.
        payload: Cow<'a, [u8]>,
    },
    /// One caller runs the function.
    Lease,
    /// Writers are in the middle of a change.
    Hold,
    /// A value of a later format, to be left alone.
    Newer,
    /// None of these: to be replaced.
    Foreign,
}

/// The bytes of a value. It is compressed as the header says, if that is worth it; a compression
/// that is not built in is an error even where it would not be.
pub(crate) fn encode(header: &Header, payload: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let packed = compress::compress(header.compression, payload)?;
    let (compression, length, body) = match &packed {
        Some(packed) => (header.compression, packed.length.as_slice(), packed.block.as_slice()),
        None => (Compression::None, [].as_slice(), payload),
    };
    let bytes = header.len() + length.len() + body.len();
    if bytes > MAX_BLOB {
        return Err(EncodeError::TooLarge { bytes: bytes as u64, limit: MAX_BLOB as u64 });
    }
    let mut blob = Vec::with_capacity(bytes);
    Header { compression, ..*header }.write(&mut blob);
    blob.extend_from_slice(length);
    blob.extend_from_slice(body);
    Ok(blob)
}

/// What the bytes of a key are. A payload that says it is longer than `limit` when decompressed,
/// or turns out to be, is foreign. Nothing longer than `limit` is allocated.
pub(crate) fn decode(bytes: &[u8], limit: usize) -> Decoded<'_> {
    match bytes {
        [LEASE, ..] if bytes.len() == 2 + TOKEN => Decoded::Lease,
        [HOLD, _, writers @ ..] if !writers.is_empty() && writers.len() % WRITER == 0 => {
            Decoded::Hold
        }
        [VALUE, format, ..] if *format > FORMAT => Decoded::Newer,
        _ => value(bytes, limit).unwrap_or(Decoded::Foreign),
    }
}

fn value(bytes: &[u8], limit: usize) -> Option<Decoded<'_>> {
    let (header, stored) = Header::read(bytes)?;
    let payload = match header.compression {
        Compression::None => Cow::Borrowed(stored),
        compression => Cow::Owned(compress::decompress(compression, stored, limit)?),
    };
    Some(Decoded::Value { header, payload })
}

/// Why a value has no bytes.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// Serde cannot encode it.
    Value(Box<dyn error::Error + Send + Sync>),
    /// This build lacks the feature for it.
    Feature(&'static str),
    /// Redis would not take it.
    TooLarge { bytes: u64, limit: u64 },
}

impl EncodeError {
    /// As what became of a value of this function.
    pub(crate) fn of(self, function: &'static str) -> Error {
        match self {
            Self::Value(source) => Error::Encode { function, source },
            Self::TooLarge { bytes, limit } => Error::TooLarge { bytes, limit },
            Self::Feature(_) => Error::Encode { function, source: Box::new(self) },
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("the value cannot be encoded"),
            Self::Feature(feature) => {
                write!(f, "it needs the feature `{feature}` of `larder`, which is not enabled")
            }
            Self::TooLarge { bytes, limit } => {
                write!(f, "a value of {bytes} bytes is above the limit of {limit}")
            }
        }
    }
}

impl error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Value(source) => Some(&**source),
            Self::Feature(_) | Self::TooLarge { .. } => None,
        }
    }
}
