use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use quick_cache::Equivalent;

use super::{
    Lifetimes, MOST_TAGS,
    part::{KeyPart, Nesting},
    text::KeyText,
};
use crate::{cache::Cache, remote::Remote};

/// The parts of a key in canonical bytes. Up to `INLINE` of them in place, so that a hit
/// allocates nothing.
///
/// Not a `SmallVec`: one is built on every call, and to append an integer to it costs two calls of
/// `memmove` where this is two stores; a quarter of a hit.
#[derive(Clone)]
#[doc(hidden)]
pub struct KeyBytes {
    parts: Parts,
    pub(crate) apart: MayApart,
}

/// A call is moved a few times, and what most keys are is two words to move and not seven.
#[derive(Clone, Copy)]
enum Parts {
    /// One part, and that is an unsigned integer.
    Unsigned(u64),
    None,
    InPlace {
        length: u8,
        bytes: [u8; INLINE],
    },
}

/// What few calls have, if this one has it. To be dropped out of line: else what drops it is too long
/// to become a part of what drops a call, and is called by every hit.
#[derive(Clone, Debug, Default)]
pub(crate) struct MayApart(Option<Box<Apart>>);

impl Deref for MayApart {
    type Target = Option<Box<Apart>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for MayApart {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for MayApart {
    #[inline]
    fn drop(&mut self) {
        // Taken behind the question: else a hit, which knows the answer, would still write that it has none.
        if self.0.is_some()
            && let Some(apart) = self.0.take()
        {
            drop_apart(apart);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_apart(apart: Box<Apart>) {
    drop(apart);
}

/// What few calls have, of the key or besides it, in one box.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apart {
    /// A key that does not fit in place: all of it.
    long: Vec<u8>,
    /// The scope of the call, if that is of another cache than the call.
    pub(crate) scope: Option<Cache>,
    /// How long values live, if the site does not say it.
    pub(crate) lifetimes: Option<Lifetimes>,
    /// The remote tier as this call is to see it.
    pub(crate) remote: Option<Arc<dyn Remote>>,
    /// Tags that the caller wrote, and how long the key is without them.
    pub(crate) tags: Vec<KeyText>,
    own: usize,
}

/// Four integers, or a UUID as text.
const INLINE: usize = 38;

/// What a key is looked up by: the number of its entity, and its parts. Up to 11 bytes of parts
/// are one number with that of the entity, which is compared and hashed at once.
#[derive(Clone, Copy)]
pub(crate) enum Lookup<'a> {
    Short(ShortKey),
    Long(LongKey<'a>),
}

/// Each of the two is a query of its own, so that the short one, which most keys are, is looked up
/// in a few instructions.
///
/// The parts but for their first byte, and that with the entity: a part that is an integer is a
/// word as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShortKey {
    word: u64,
    rest: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LongKey<'a> {
    entity: u32,
    parts: &'a [u8],
}

/// The same as the store has it; in place if it is short, so that an entry stays small.
#[derive(Clone)]
pub(crate) enum StoredKey {
    Short(ShortKey),
    /// The number of the entity in 4 bytes, and the parts.
    Long(Box<[u8]>),
}

/// The slots of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots {
    count: u8,
    all: [u16; MOST_TAGS],
}

impl Slots {
    pub(crate) fn of(slots: impl Iterator<Item = u16>) -> Self {
        let mut of = Self { count: 0, all: [0; MOST_TAGS] };
        for (place, slot) in of.all.iter_mut().zip(slots) {
            *place = slot;
            of.count += 1;
        }
        of
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u16] {
        self.all.get(..usize::from(self.count)).unwrap_or(&self.all)
    }
}

impl ShortKey {
    /// What is behind the parts is zero, so the length tells two of them apart.
    #[inline]
    fn new(entity: u32, length: u8, first: u8, word: u64, last: [u8; 2]) -> Self {
        let last = u64::from(u16::from_le_bytes(last));
        let rest = u64::from(length) << 56 | last << 40 | u64::from(first) << 32;
        Self { word, rest: rest | u64::from(entity) }
    }

    /// Out of line, so that the look-up of an integer is not mixed with it.
    #[inline(never)]
    fn of_bytes(entity: u32, length: u8, bytes: &[u8; INLINE]) -> Self {
        let [first, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, ..] = *bytes;
        let word = u64::from_le_bytes([b1, b2, b3, b4, b5, b6, b7, b8]);
        Self::new(entity, length, first, word, [b9, b10])
    }
}

impl Lookup<'_> {
    /// In bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Short(_) => 16,
            Self::Long(LongKey { parts, .. }) => 4 + parts.len() as u64,
        }
    }

    pub(crate) fn to_stored(self) -> StoredKey {
        match self {
            Self::Short(key) => StoredKey::Short(key),
            Self::Long(LongKey { entity, parts }) => {
                StoredKey::Long([&entity.to_le_bytes(), parts].concat().into())
            }
        }
    }
}

fn long_key(bytes: &[u8]) -> LongKey<'_> {
    match bytes.split_first_chunk() {
        Some((entity, parts)) => LongKey { entity: u32::from_le_bytes(*entity), parts },
        None => LongKey { entity: 0, parts: &[] },
    }
}

impl Hash for ShortKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word);
        state.write_u64(self.rest);
    }
}

impl Hash for LongKey<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.entity);
        state.write(self.parts);
    }
}

impl Hash for Lookup<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Short(key) => key.hash(state),
            Self::Long(key) => key.hash(state),
        }
    }
}

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Short(key) => key.hash(state),
            Self::Long(bytes) => long_key(bytes).hash(state),
        }
    }
}

impl Equivalent<StoredKey> for ShortKey {
    #[inline]
    fn equivalent(&self, stored: &StoredKey) -> bool {
        matches!(stored, StoredKey::Short(key) if key == self)
    }
}

impl Equivalent<StoredKey> for LongKey<'_> {
    #[inline]
    fn equivalent(&self, stored: &StoredKey) -> bool {
        matches!(stored, StoredKey::Long(bytes) if long_key(bytes) == *self)
    }
}

impl Equivalent<StoredKey> for Lookup<'_> {
    #[inline]
    fn equivalent(&self, stored: &StoredKey) -> bool {
        match self {
            Self::Short(key) => key.equivalent(stored),
            Self::Long(key) => key.equivalent(stored),
        }
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        match self {
            Self::Short(key) => key.equivalent(other),
            Self::Long(bytes) => long_key(bytes).equivalent(other),
        }
    }
}

impl Eq for StoredKey {}

/// What a part starts with. A byte form never depends on what comes after it, so that a list of
/// parts can be read back in one way only.
pub(crate) mod tag {
    /// 8 bytes little endian: every unsigned integer up to 64 bits, and signed ones from zero up.
    pub(crate) const UNSIGNED: u8 = 1;
    /// 8 bytes little endian, two's complement, below zero.
    pub(crate) const NEGATIVE: u8 = 2;
    /// 16 bytes little endian, above 64 bits.
    pub(crate) const UNSIGNED_WIDE: u8 = 3;
    /// 16 bytes little endian, below the range of 64 bits.
    pub(crate) const NEGATIVE_WIDE: u8 = 4;
    /// A length (a byte, or 255 and 8 bytes little endian) and UTF-8.
    pub(crate) const STR: u8 = 5;
    pub(crate) const FALSE: u8 = 6;
    pub(crate) const TRUE: u8 = 7;
    pub(crate) const NONE: u8 = 8;
    /// Followed by the part inside.
    pub(crate) const SOME: u8 = 9;
    /// Followed by parts and `CLOSE`: a tuple or a struct.
    pub(crate) const TUPLE: u8 = 10;
    /// Followed by parts and `CLOSE`: a sequence.
    pub(crate) const LIST: u8 = 11;
    /// Followed by parts and `CLOSE`: what an implementation written by hand wrote.
    pub(crate) const CUSTOM: u8 = 12;
    pub(crate) const CLOSE: u8 = 13;
    /// 4 bytes.
    pub(crate) const IPV4: u8 = 14;
    /// 16 bytes.
    pub(crate) const IPV6: u8 = 15;
}

impl KeyBytes {
    #[inline]
    #[must_use]
    #[allow(clippy::new_without_default, reason = "for the attributes alone")]
    pub const fn new() -> Self {
        Self { parts: Parts::None, apart: MayApart(None) }
    }

    /// A key as the caller wrote it.
    pub(crate) fn of_text(text: &str) -> Self {
        let mut bytes = Self::new();
        bytes.append(text.as_bytes());
        bytes
    }

    /// Adds tags that the caller wrote. As many as the entity has: so their lengths, which come
    /// last, can be told from what is before them.
    pub(crate) fn tag(&mut self, tags: Vec<KeyText>) {
        let own = self.as_slice(&mut [0; 9]).len();
        for tag in &tags {
            self.append(tag.as_bytes());
        }
        for tag in &tags {
            self.append(&(tag.as_bytes().len() as u64).to_le_bytes());
        }
        let apart = self.apart.get_or_insert_default();
        (apart.tags, apart.own) = (tags, own);
    }

    /// Those tags.
    pub(crate) fn tags(&self) -> &[KeyText] {
        self.apart.as_ref().map_or(&[], |apart| &apart.tags)
    }

    /// The parts that name the entry, without what is for tags that the caller wrote.
    pub(crate) fn own<'a>(&'a self, place: &'a mut [u8; 9]) -> &'a [u8] {
        let parts = self.as_slice(place);
        match self.apart.as_ref() {
            Some(apart) if !apart.tags.is_empty() => parts.get(..apart.own).unwrap_or(parts),
            _ => parts,
        }
    }

    /// The parts; `place` is where an integer is written out.
    pub(crate) fn as_slice<'a>(&'a self, place: &'a mut [u8; 9]) -> &'a [u8] {
        if let Some(apart) = self.apart.as_ref()
            && !apart.long.is_empty()
        {
            return &apart.long;
        }
        match &self.parts {
            Parts::None => &[],
            Parts::Unsigned(number) => {
                *place = unsigned(*number);
                place
            }
            Parts::InPlace { length, bytes } => &bytes[..usize::from(*length)],
        }
    }

    #[inline]
    pub(crate) fn lookup(&self, entity: u32) -> Lookup<'_> {
        match &self.parts {
            Parts::Unsigned(number) => {
                Lookup::Short(ShortKey::new(entity, 9, tag::UNSIGNED, *number, [0; 2]))
            }
            Parts::None => Lookup::Short(ShortKey::new(entity, 0, 0, 0, [0; 2])),
            Parts::InPlace { length: length @ 0..=11, bytes } => {
                Lookup::Short(ShortKey::of_bytes(entity, *length, bytes))
            }
            Parts::InPlace { length, bytes } => {
                let parts = match self.apart.as_ref() {
                    Some(apart) if !apart.long.is_empty() => &*apart.long,
                    _ => &bytes[..usize::from(*length)],
                };
                Lookup::Long(LongKey { entity, parts })
            }
        }
    }

    /// Takes the parts, in their order.
    #[inline]
    pub fn writer(&mut self) -> KeyWriter<'_> {
        KeyWriter { bytes: self }
    }

    #[inline]
    fn append_unsigned(&mut self, number: u64) {
        match self.parts {
            Parts::None => self.parts = Parts::Unsigned(number),
            Parts::Unsigned(_) | Parts::InPlace { .. } => self.append(&unsigned(number)),
        }
    }

    #[inline]
    fn append(&mut self, more: &[u8]) {
        match self.parts {
            Parts::None => self.parts = Parts::InPlace { length: 0, bytes: [0; INLINE] },
            Parts::Unsigned(number) => {
                let mut bytes = [0; INLINE];
                bytes[..9].copy_from_slice(&unsigned(number));
                self.parts = Parts::InPlace { length: 9, bytes };
            }
            Parts::InPlace { .. } => {}
        }
        if let Parts::InPlace { length, bytes } = &mut self.parts
            && let start = usize::from(*length)
            && let Some(place) = bytes.get_mut(start..start + more.len())
        {
            place.copy_from_slice(more);
            *length += more.len() as u8;
        } else {
            self.append_apart(more);
        }
    }

    #[cold]
    fn append_apart(&mut self, more: &[u8]) {
        let long = &mut self.apart.get_or_insert_default().long;
        if let Parts::InPlace { length, bytes } = &mut self.parts
            && *length != FULL
        {
            long.extend_from_slice(&bytes[..usize::from(*length)]);
            // From now on nothing fits, however short.
            *length = FULL;
        }
        long.extend_from_slice(more);
    }
}

/// The canonical bytes of an unsigned integer.
#[inline]
fn unsigned(number: u64) -> [u8; 9] {
    let mut bytes = [tag::UNSIGNED; 9];
    bytes[1..].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The length of a key that is not in place.
const FULL: u8 = INLINE as u8 + 1;

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyBytes").field(&self.as_slice(&mut [0; 9])).finish()
    }
}

/// Takes the parts of a key; what [`KeyPart::write`] writes to.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    bytes: &'a mut KeyBytes,
}

impl KeyWriter<'_> {
    /// Adds a part: a field of the value that is being written.
    ///
    /// ```
    /// use larder::{KeyPart, KeyWriter};
    ///
    /// struct Page { author: String, number: u32 }
    ///
    /// impl KeyPart for Page {
    ///     fn write(&self, out: &mut KeyWriter<'_>) {
    ///         out.part(&self.author);
    ///         out.part(&self.number);
    ///     }
    /// }
    /// ```
    pub fn part<T: KeyPart + ?Sized>(&mut self, part: &T) {
        match T::NESTING {
            Nesting::Plain => part.write(self),
            // By hand, the parts may differ in number and type from value to value; brackets
            // keep them from running into what follows.
            Nesting::Custom => self.nested(tag::CUSTOM, |out| part.write(out)),
        }
    }

    #[inline]
    pub(crate) fn unsigned(&mut self, number: u64) {
        self.bytes.append_unsigned(number);
    }

    #[inline]
    pub(crate) fn signed(&mut self, number: i64) {
        match u64::try_from(number) {
            Ok(number) => self.unsigned(number),
            Err(_) => self.tagged(tag::NEGATIVE, &number.to_le_bytes()),
        }
    }

    pub(crate) fn unsigned_wide(&mut self, number: u128) {
        match u64::try_from(number) {
            Ok(number) => self.unsigned(number),
            Err(_) => self.tagged(tag::UNSIGNED_WIDE, &number.to_le_bytes()),
        }
    }

    pub(crate) fn signed_wide(&mut self, number: i128) {
        if let Ok(number) = i64::try_from(number) {
            self.signed(number);
        } else if let Ok(number) = u128::try_from(number) {
            self.unsigned_wide(number);
        } else {
            self.tagged(tag::NEGATIVE_WIDE, &number.to_le_bytes());
        }
    }

    #[inline]
    pub(crate) fn str(&mut self, text: &str) {
        let length = text.len();
        if length < usize::from(u8::MAX) {
            self.bytes.append(&[tag::STR, length as u8]);
        } else {
            self.bytes.append(&[tag::STR, u8::MAX]);
            self.bytes.append(&(length as u64).to_le_bytes());
        }
        self.bytes.append(text.as_bytes());
    }

    pub(crate) fn mark(&mut self, tag: u8) {
        self.bytes.append(&[tag]);
    }

    pub(crate) fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.append(&[tag]);
        self.bytes.append(bytes);
    }

    pub(crate) fn nested(&mut self, tag: u8, parts: impl FnOnce(&mut Self)) {
        self.mark(tag);
        parts(self);
        self.mark(tag::CLOSE);
    }

    /// A struct or a tuple; what `#[derive(KeyPart)]` emits.
    #[doc(hidden)]
    pub fn tuple(&mut self, fields: impl FnOnce(&mut Self)) {
        self.nested(tag::TUPLE, fields);
    }

    /// A variant of an enum, by name; what `#[derive(KeyPart)]` emits.
    #[doc(hidden)]
    pub fn variant(&mut self, name: &str, fields: impl FnOnce(&mut Self)) {
        self.nested(tag::TUPLE, |out| {
            out.str(name);
            fields(out);
        });
    }

    /// The type of an argument, for `{T}`, `{Self}` and `impl Trait`.
    #[doc(hidden)]
    pub fn type_name(&mut self, name: &'static str) {
        self.str(name);
    }

    /// An argument of a type that the caller chose (`impl Trait`): its type, then the argument.
    #[doc(hidden)]
    pub fn typed<T: KeyPart + ?Sized>(&mut self, part: &T) {
        self.nested(tag::TUPLE, |out| {
            out.type_name(core::any::type_name::<T>());
            out.part(part);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_key_stays_inline() {
        let mut key = KeyBytes::new();
        key.writer().part(&u64::MAX);
        assert!(matches!(key.lookup(7), Lookup::Short(_)));
    }

    #[test]
    fn a_uuid_as_text_stays_in_place() {
        let mut key = KeyBytes::new();
        key.writer().part("67e55044-10b1-426f-9247-bb680e5fe0c8");
        assert!(key.apart.is_none());
    }

    #[test]
    fn keys_of_any_length_are_found_by_their_parts_and_entity_alone() {
        let keys = (0..60).flat_map(|length| [(length, 7), (length, 8)]).map(|(length, entity)| {
            let text: String = std::iter::repeat_n('a', length).collect();
            (KeyBytes::of_text(&text), entity)
        });
        let keys: Vec<_> = keys.collect();
        for (left, left_entity) in &keys {
            for (right, right_entity) in &keys {
                let same = left.as_slice(&mut [0; 9]) == right.as_slice(&mut [0; 9])
                    && left_entity == right_entity;
                let stored = right.lookup(*right_entity).to_stored();
                let found = match left.lookup(*left_entity) {
                    Lookup::Short(key) => key.equivalent(&stored),
                    Lookup::Long(key) => key.equivalent(&stored),
                };
                assert_eq!(found, same);
                assert_eq!(left.lookup(*left_entity).to_stored() == stored, same);
            }
        }
    }

    #[test]
    fn one_number_has_one_byte_form_whatever_its_type() {
        let bytes = |write: &dyn Fn(&mut KeyWriter<'_>)| {
            let mut key = KeyBytes::new();
            write(&mut key.writer());
            key.as_slice(&mut [0; 9]).to_vec()
        };
        let of_u8 = bytes(&|out| out.part(&5u8));
        assert_eq!(of_u8, bytes(&|out| out.part(&5i64)));
        assert_eq!(of_u8, bytes(&|out| out.part(&5u128)));
        assert_eq!(of_u8, bytes(&|out| out.part(&5i128)));
        assert_ne!(of_u8, bytes(&|out| out.part("5")));
    }
}
