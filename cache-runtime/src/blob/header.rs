use std::ops::Deref;

use super::{Codec, Compression, FORMAT, TOKEN, VALUE};
use crate::remote::Token;

/// What stands before the stamps.
const PREFIX: usize = 76;
const STAMP: usize = 8;

const NEGATIVE: u8 = 1 << 4;
const TAGGED: u8 = 1 << 5;
/// Set and read by the scripts alone.
const AWAITED: u8 = 1 << 6;

/// What a value in Redis carries beside its payload. Times are milliseconds of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// When the load began.
    pub(crate) created: u64,
    pub(crate) fresh_until: u64,
    /// It is served so long, while one caller refreshes it.
    pub(crate) stale_until: u64,
    /// Past it the value counts as absent.
    pub(crate) servable_until: u64,
    /// The election of a refresher, or the pause after an error; 0: neither.
    pub(crate) refresh_until: u64,
    /// The elected refresher; nobody in a value that is stored.
    pub(crate) token: Option<Token>,
    /// Of the run, in microseconds.
    pub(crate) cost: u64,
    /// Of the value's type and the function's version: others cannot read it.
    pub(crate) fingerprint: u64,
    pub(crate) stamps: Stamps,
    pub(crate) codec: Codec,
    /// In a value to be encoded: what to try.
    pub(crate) compression: Compression,
    /// It stands for a `None`.
    pub(crate) negative: bool,
    pub(crate) tagged: bool,
}

impl Header {
    /// The header and what follows it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX>()?;
        let &[VALUE, FORMAT, flags, count, ..] = prefix else {
            return None;
        };
        if flags & !(0b1111 | NEGATIVE | TAGGED | AWAITED) != 0 {
            return None;
        }
        let (stamps, payload) = rest.split_at_checked(usize::from(count) * STAMP)?;
        let mut numbers = Numbers(&prefix[4..]);
        let header = Self {
            created: numbers.next()?,
            fresh_until: numbers.next()?,
            stale_until: numbers.next()?,
            servable_until: numbers.next()?,
            refresh_until: numbers.next()?,
            token: match u128::from(numbers.next()?) << 64 | u128::from(numbers.next()?) {
                0 => None,
                token => Some(Token(token)),
            },
            cost: numbers.next()?,
            fingerprint: numbers.next()?,
            stamps: Stamps::read(stamps)?,
            codec: Codec::of_bits(flags & 0b11)?,
            compression: Compression::of_bits(flags >> 2 & 0b11)?,
            negative: flags & NEGATIVE != 0,
            tagged: flags & TAGGED != 0,
        };
        Some((header, payload))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut flags = self.codec.bits() | self.compression.bits() << 2;
        if self.negative {
            flags |= NEGATIVE;
        }
        if self.tagged {
            flags |= TAGGED;
        }
        out.extend_from_slice(&[VALUE, FORMAT, flags, self.stamps.count]);
        for time in [self.created, self.fresh_until, self.stale_until, self.servable_until] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out.extend_from_slice(&self.refresh_until.to_be_bytes());
        let token: [u8; TOKEN] = self.token.map_or(0, |Token(token)| token).to_be_bytes();
        out.extend_from_slice(&token);
        out.extend_from_slice(&self.cost.to_be_bytes());
        out.extend_from_slice(&self.fingerprint.to_be_bytes());
        for stamp in &*self.stamps {
            out.extend_from_slice(&stamp.to_be_bytes());
        }
    }

    /// Its length in bytes, which is where the payload begins.
    pub(crate) fn len(&self) -> usize {
        PREFIX + STAMP * self.stamps.len()
    }
}

/// The stamps of a value: the service's, then those of the tags. A value whose stamps are not the
/// current ones is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamps {
    count: u8,
    all: [u64; Self::MOST],
}

impl Stamps {
    const MOST: usize = 9;

    /// Of a value without tags.
    pub(crate) fn of_service(stamp: u64) -> Self {
        let mut all = [0; Self::MOST];
        all[0] = stamp;
        Self { count: 1, all }
    }

    /// Adds the stamp of a tag; `None` if there is no room, after eight of them.
    pub(crate) fn with_tag(mut self, stamp: u64) -> Option<Self> {
        *self.all.get_mut(usize::from(self.count))? = stamp;
        self.count += 1;
        Some(self)
    }

    /// One to nine, in bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (stamps, []) = bytes.as_chunks::<STAMP>() else {
            return None;
        };
        let mut all = [0; Self::MOST];
        for (place, stamp) in all.get_mut(..stamps.len())?.iter_mut().zip(stamps) {
            *place = u64::from_be_bytes(*stamp);
        }
        let count = u8::try_from(stamps.len()).ok().filter(|count| *count > 0)?;
        Some(Self { count, all })
    }
}

impl Deref for Stamps {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        self.all.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// The numbers of 8 bytes that bytes consist of.
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }
}
