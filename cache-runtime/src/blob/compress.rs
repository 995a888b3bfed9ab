use super::{EncodeError, MAX_DECOMPRESSED};

/// How values are compressed in Redis.
///
/// A value that is short, or that does not get smaller by a tenth, is stored as it is. Each stored
/// value says how it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Values are stored as they are.
    #[default]
    None,
    /// LZ4, for values of 1 KiB and more. It needs the feature `lz4`.
    Lz4,
    /// Zstandard, for values of 4 KiB and more: smaller than LZ4 and slower. It needs the feature
    /// `zstd`, which builds a library in C.
    Zstd,
}

impl Compression {
    /// The feature that this build lacks for it.
    pub(crate) const fn missing_feature(self) -> Option<&'static str> {
        match self {
            Self::Lz4 if !cfg!(feature = "lz4") => Some("lz4"),
            Self::Zstd if !cfg!(feature = "zstd") => Some("zstd"),
            Self::None | Self::Lz4 | Self::Zstd => None,
        }
    }

    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    pub(super) const fn of_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::None),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The shortest payload that is worth a try.
    const fn threshold(self) -> usize {
        match self {
            Self::None => usize::MAX,
            Self::Lz4 => 1 << 10,
            Self::Zstd => 4 << 10,
        }
    }

    /// What a byte can decompress to at most: what claims more is known for a lie unread.
    const fn most_of_a_byte(self) -> usize {
        match self {
            Self::None => 1,
            // A byte of the length of a match counts for 255.
            Self::Lz4 => 255,
            // A block of 128 KiB takes some bytes.
            Self::Zstd => 128 << 10,
        }
    }
}

/// A payload that got smaller.
pub(super) struct Packed {
    /// The decompressed length as it is stored.
    pub(super) length: [u8; 4],
    pub(super) block: Vec<u8>,
}

/// The payload in compressed form, if that is worth it.
pub(super) fn compress(
    compression: Compression,
    payload: &[u8],
) -> Result<Option<Packed>, EncodeError> {
    if let Some(feature) = compression.missing_feature() {
        return Err(EncodeError::Feature(feature));
    }
    // Nobody would decompress one above the limit.
    if payload.len() < compression.threshold() || payload.len() > MAX_DECOMPRESSED {
        return Ok(None);
    }
    let Ok(length) = u32::try_from(payload.len()) else {
        return Ok(None);
    };
    let length = length.to_be_bytes();
    let worth = payload.len() / 10 * 9 - length.len();
    let block = match compression {
        Compression::None => None,
        Compression::Lz4 => lz4::compress(payload, worth),
        Compression::Zstd => zstd::compress(payload, worth),
    };
    Ok(block.map(|block| Packed { length, block }))
}

/// The payload of its stored form, if it has the length it claims, and that is within the limit.
pub(super) fn decompress(compression: Compression, stored: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (length, block) = stored.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if length > limit || length / compression.most_of_a_byte() > block.len() {
        return None;
    }
    let payload = match compression {
        Compression::None => None,
        Compression::Lz4 => lz4::decompress(block, length),
        Compression::Zstd => zstd::decompress(block, length),
    };
    payload.filter(|payload| payload.len() == length)
}

#[cfg(feature = "lz4")]
mod lz4 {
    /// At most `worth` bytes, or nothing.
    pub(super) fn compress(payload: &[u8], worth: usize) -> Option<Vec<u8>> {
        let block = lz4_flex::block::compress(payload);
        (block.len() <= worth).then_some(block)
    }

    /// At most `length` bytes, or nothing.
    pub(super) fn decompress(block: &[u8], length: usize) -> Option<Vec<u8>> {
        lz4_flex::block::decompress(block, length).ok()
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use std::cell::Cell;

    use zstd::bulk::{Compressor, Decompressor};

    const LEVEL: i32 = 1;

    // To set up a context takes longer than to use it. One that is in use, or whose thread ends,
    // is missing here, and a new one is made.
    thread_local! {
        static COMPRESSOR: Cell<Option<Compressor<'static>>> = const { Cell::new(None) };
        static DECOMPRESSOR: Cell<Option<Decompressor<'static>>> = const { Cell::new(None) };
    }

    /// At most `worth` bytes, or nothing.
    pub(super) fn compress(payload: &[u8], worth: usize) -> Option<Vec<u8>> {
        let mut compressor = match COMPRESSOR.try_with(Cell::take) {
            Ok(Some(compressor)) => compressor,
            _ => Compressor::new(LEVEL).ok()?,
        };
        // A buffer that is too short for it ends the attempt early.
        let mut block = Vec::with_capacity(worth);
        let written = compressor.compress_to_buffer(payload, &mut block);
        let _ = COMPRESSOR.try_with(|kept| kept.set(Some(compressor)));
        written.ok()?;
        Some(block)
    }

    /// At most `length` bytes, or nothing.
    pub(super) fn decompress(block: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut decompressor = match DECOMPRESSOR.try_with(Cell::take) {
            Ok(Some(decompressor)) => decompressor,
            _ => Decompressor::new().ok()?,
        };
        let mut payload = Vec::with_capacity(length);
        let written = decompressor.decompress_to_buffer(block, &mut payload);
        let _ = DECOMPRESSOR.try_with(|kept| kept.set(Some(decompressor)));
        written.ok()?;
        Some(payload)
    }
}

#[cfg(not(feature = "lz4"))]
use absent as lz4;
#[cfg(not(feature = "zstd"))]
use absent as zstd;

/// What a build does without the feature: nothing gets smaller, nothing can be read.
#[cfg(not(all(feature = "lz4", feature = "zstd")))]
mod absent {
    pub(super) fn compress(_payload: &[u8], _worth: usize) -> Option<Vec<u8>> {
        None
    }

    pub(super) fn decompress(_block: &[u8], _length: usize) -> Option<Vec<u8>> {
        None
    }
}
