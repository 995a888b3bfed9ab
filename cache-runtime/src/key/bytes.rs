use smallvec::SmallVec;

use super::part::{KeyPart, Nesting};

/// The canonical bytes of a key: the entity's number and the parts. Inline up to 32 bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyBytes(SmallVec<[u8; 32]>);

/// The bytes of a stored key: inline up to 16, so that an entry stays small.
pub(crate) type StoredKey = SmallVec<[u8; 16]>;

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
    /// A length and UTF-8.
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
    pub(crate) fn new(entity: u32) -> Self {
        let mut bytes = SmallVec::new();
        bytes.extend_from_slice(&entity.to_le_bytes());
        Self(bytes)
    }

    /// A key as the caller wrote it.
    pub(crate) fn of_text(entity: u32, text: &str) -> Self {
        let mut bytes = Self::new(entity);
        bytes.0.extend_from_slice(text.as_bytes());
        bytes
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The parts, without the entity's number.
    pub(crate) fn parts(&self) -> &[u8] {
        self.0.get(4..).unwrap_or_default()
    }

    pub(crate) fn writer(&mut self) -> KeyWriter<'_> {
        KeyWriter { bytes: &mut self.0 }
    }
}

/// Takes the parts of a key; what [`KeyPart::write`] writes to.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    bytes: &'a mut SmallVec<[u8; 32]>,
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
        let mut bytes = [tag::UNSIGNED; 9];
        bytes[1..].copy_from_slice(&number.to_le_bytes());
        self.bytes.extend_from_slice(&bytes);
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
        self.bytes.push(tag::STR);
        let mut length = text.len();
        // LEB128: seven bits a byte, the low ones first.
        while length >= 0x80 {
            self.bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.bytes.push(length as u8);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn mark(&mut self, tag: u8) {
        self.bytes.push(tag);
    }

    pub(crate) fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(bytes);
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
    pub fn typed<T: KeyPart>(&mut self, part: &T) {
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
        let mut key = KeyBytes::new(7);
        key.writer().part(&42u64);
        assert_eq!(key.as_slice().len(), 13);
        assert!(!key.0.spilled());
        assert!(!StoredKey::from_slice(key.as_slice()).spilled());
    }

    #[test]
    fn one_number_has_one_byte_form_whatever_its_type() {
        let bytes = |write: &dyn Fn(&mut KeyWriter<'_>)| {
            let mut key = KeyBytes::default();
            write(&mut key.writer());
            key.as_slice().to_vec()
        };
        let of_u8 = bytes(&|out| out.part(&5u8));
        assert_eq!(of_u8, bytes(&|out| out.part(&5i64)));
        assert_eq!(of_u8, bytes(&|out| out.part(&5u128)));
        assert_eq!(of_u8, bytes(&|out| out.part(&5i128)));
        assert_ne!(of_u8, bytes(&|out| out.part("5")));
    }
}
