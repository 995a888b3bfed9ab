use std::{
    fmt::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
};

use hmac_sha256::Hash;
use smallvec::SmallVec;

use super::{
    bytes::tag,
    site::{Entity, Name},
    tags::Tag,
};

/// A text longer than this keeps a readable head and ends in the SHA-256 of the whole.
const LONGEST: usize = 200;

/// How much of a long text stays readable: with `%#` and 64 digits it is shorter than `LONGEST`.
const HEAD: usize = 128;

/// The text of a key, without the service: `user:42`. Inline up to 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyText(SmallVec<[u8; 64]>);

impl KeyText {
    /// The text of `parts` under `entity`. Equal parts give equal text, and parts that differ
    /// give texts that differ, as long as they come from one function.
    pub(crate) fn render(entity: &Entity, parts: &[u8]) -> Self {
        let mut text = Text(SmallVec::new());
        let parts = if entity.tags.own == usize::MAX {
            parts
        } else {
            let rest = Parts { rest: parts }.skip(entity.tags.own);
            &parts[..parts.len() - rest.len()]
        };
        match entity.name {
            Name::Template(template) => render_template(template, parts, &mut text),
            Name::Function { path, .. } => {
                render_path(path, &mut text);
                if entity.ordinal > 0 {
                    // Two functions of one path: blocks of one body may each define an `f`.
                    let _ = write!(text, "~{}", entity.ordinal + 1);
                }
                text.byte(b':');
                text.digest(parts);
            }
            Name::Load { .. } => text.raw(parts),
        }
        text.shortened()
    }

    /// The text of a tag, of a template and its parts.
    pub(crate) fn of_tag(template: &'static str, parts: &[u8]) -> Self {
        let mut text = Text(SmallVec::new());
        render_template(template, parts, &mut text);
        text.shortened()
    }

    /// The text of a function, without what it is called with.
    #[cfg(feature = "limit")]
    pub(crate) fn of_path(path: &'static str) -> Self {
        let mut text = Text(SmallVec::new());
        render_path(path, &mut text);
        text.shortened()
    }

    /// The text of a part behind a name: as of a template `name:{}`.
    #[cfg(feature = "limit")]
    pub(crate) fn of_named(name: &str, part: &[u8]) -> Self {
        let mut text = Text(SmallVec::new());
        text.raw(name.as_bytes());
        text.byte(b':');
        Parts { rest: part }.render_next(Strictness::TypeKnown, &mut text);
        text.shortened()
    }

    /// The texts of the tags of a call, by the parts of its key.
    pub(crate) fn of_tags(tags: &'static [Tag], parts: &[u8]) -> impl Iterator<Item = Self> {
        let each = Self::split(parts);
        let part = move |at: &usize| each.get(*at).copied().unwrap_or_default();
        tags.iter().map(move |tag| match tag.parts {
            [one] => Self::of_tag(tag.template, part(one)),
            many => {
                let parts: SmallVec<[u8; 64]> =
                    many.iter().flat_map(|at| part(at).iter().copied()).collect();
                Self::of_tag(tag.template, &parts)
            }
        })
    }

    /// The parts of a key, one by one.
    pub(crate) fn split(parts: &[u8]) -> SmallVec<[&[u8]; 8]> {
        let mut each = SmallVec::new();
        let mut rest = parts;
        while !rest.is_empty() {
            let after = Parts { rest }.skip(1);
            each.push(&rest[..rest.len() - after.len()]);
            rest = after;
        }
        each
    }

    /// A text as the user wrote it: `Cache::invalidate("user:42")`.
    pub(crate) fn literal(key: &str) -> Self {
        let mut text = Text(SmallVec::new());
        text.raw(key.as_bytes());
        text.shortened()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `shop:user:42`.
    pub(crate) fn to_text_of(&self, service: &str) -> String {
        let mut text = String::with_capacity(service.len() + 1 + self.0.len());
        text.push_str(service);
        text.push(':');
        match std::str::from_utf8(&self.0) {
            Ok(key) => text.push_str(key),
            // It is, as below.
            Err(_) => text.push_str(&self.to_text()),
        }
        text
    }

    pub(crate) fn to_text(&self) -> String {
        // It is UTF-8: made of it, and cut at the boundaries of characters.
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyText").field(&self.to_text()).finish()
    }
}

/// A text under construction.
struct Text(SmallVec<[u8; 64]>);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.raw(text.as_bytes());
        Ok(())
    }
}

impl Text {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A byte as `%` and two digits.
    fn percent(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        self.raw(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }

    fn digest(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in Hash::hash(bytes) {
            self.raw(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }

    /// A string, without the characters that the text is built with.
    fn escaped(&mut self, text: &str) {
        if text.is_empty() {
            return self.raw(b"%_");
        }
        for char in text.chars() {
            let mut buffer = [0; 4];
            let bytes = char.encode_utf8(&mut buffer).as_bytes();
            let built_with = matches!(char, ':' | '%' | '{' | '}' | '(' | ')' | '[' | ']' | ',');
            if built_with || char.is_control() {
                for byte in bytes {
                    self.percent(*byte);
                }
            } else {
                self.raw(bytes);
            }
        }
    }

    fn shortened(mut self) -> KeyText {
        if self.0.len() > LONGEST {
            let mut whole = Self(SmallVec::new());
            std::mem::swap(&mut whole.0, &mut self.0);
            // Continuation bytes of UTF-8 start with the bits 10.
            let head = (0..=HEAD).rev().find(|at| whole.0[*at] & 0xC0 != 0x80).unwrap_or(0);
            self.raw(&whole.0[..head]);
            self.raw(b"%#");
            self.digest(&whole.0);
        }
        KeyText(self.0)
    }
}

/// `app::Repo<u8>::list` as it is, but for braces, `%` and control characters.
fn render_path(path: &str, text: &mut Text) {
    for byte in path.bytes() {
        match byte {
            b'{' | b'}' | b'%' => text.percent(byte),
            byte if byte.is_ascii_control() => text.percent(byte),
            byte => text.byte(byte),
        }
    }
}

/// Input: `user:{}:{}` and two parts. Output: `user:42:en`.
fn render_template(template: &'static str, parts: &[u8], text: &mut Text) {
    let mut parts = Parts { rest: parts };
    let mut literals = Literals { rest: Some(template) };
    literals.next().render(text);
    while !parts.rest.is_empty() {
        let separator = literals.next();
        // No value has a `:` in its text, so one that a `:` follows ends by itself, and so does
        // the last. `{a}{b}` and `{a}-{b}` would not tell `1-2`, `3` from `1`, `2-3`.
        if separator.last || separator.text.contains(':') {
            parts.render_next(Strictness::TypeKnown, text);
        } else {
            text.byte(b'(');
            parts.render_next(Strictness::TypeKnown, text);
            text.byte(b')');
        }
        separator.render(text);
        if separator.last && !parts.rest.is_empty() {
            // The types of arguments, which no placeholder asks for.
            text.byte(b':');
        }
    }
}

/// The literal pieces of a template, between its `{}`.
struct Literals {
    rest: Option<&'static str>,
}

#[derive(Clone, Copy)]
struct Literal {
    text: &'static str,
    /// Nothing follows it.
    last: bool,
}

impl Literals {
    fn next(&mut self) -> Literal {
        let rest = self.rest.take().unwrap_or_default();
        let mut bytes = rest.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            // `{{` is a brace that was meant.
            if byte == b'{' && bytes.next().is_some_and(|(_, next)| next == b'}') {
                let (text, after) = rest.split_at(at);
                self.rest = after.get(2..);
                return Literal { text, last: false };
            }
        }
        Literal { text: rest, last: true }
    }
}

impl Literal {
    fn render(self, text: &mut Text) {
        if !self.text.bytes().any(|byte| matches!(byte, b'{' | b'}')) {
            return text.raw(self.text.as_bytes());
        }
        let mut bytes = self.text.bytes();
        while let Some(byte) = bytes.next() {
            text.byte(byte);
            if matches!(byte, b'{' | b'}') {
                bytes.next();
            }
        }
    }
}

/// What is known of a part where it stands.
#[derive(Clone, Copy, PartialEq)]
enum Strictness {
    /// Always of one type, so that `5` needs no mark to tell it from `"5"`.
    TypeKnown,
    /// In brackets of an implementation written by hand, however deep: strings and `Some` are
    /// marked.
    AnyType,
}

/// Reads back what `KeyWriter` wrote.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap_or([0; N])
    }

    fn tag(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    fn length(&mut self) -> usize {
        match self.tag() {
            u8::MAX => usize::try_from(u64::from_le_bytes(self.array())).unwrap_or(usize::MAX),
            length => usize::from(length),
        }
    }

    fn at(&self, tag: u8) -> bool {
        self.rest.first().is_none_or(|first| *first == tag)
    }

    /// What is behind so many parts.
    fn skip(mut self, parts: usize) -> &'a [u8] {
        // How many brackets are open, and how many parts are left outside of them.
        let (mut open, mut left) = (0usize, parts);
        while (left > 0 || open > 0) && !self.rest.is_empty() {
            let length = match self.tag() {
                tag::UNSIGNED | tag::NEGATIVE => 8,
                tag::UNSIGNED_WIDE | tag::NEGATIVE_WIDE | tag::IPV6 => 16,
                tag::IPV4 => 4,
                tag::STR => self.length(),
                tag::TUPLE | tag::LIST | tag::CUSTOM => {
                    open += 1;
                    continue;
                }
                // The part inside follows.
                tag::SOME => continue,
                tag::CLOSE => {
                    open = open.saturating_sub(1);
                    0
                }
                _ => 0,
            };
            self.take(length);
            if open == 0 {
                left -= 1;
            }
        }
        self.rest
    }

    fn render_next(&mut self, strictness: Strictness, text: &mut Text) {
        match self.tag() {
            tag::UNSIGNED => text.number(u64::from_le_bytes(self.array())),
            tag::NEGATIVE => text.number(i64::from_le_bytes(self.array())),
            tag::UNSIGNED_WIDE => text.number(u128::from_le_bytes(self.array())),
            tag::NEGATIVE_WIDE => text.number(i128::from_le_bytes(self.array())),
            tag::STR => {
                let length = self.length();
                if strictness == Strictness::AnyType {
                    text.byte(b'\'');
                }
                text.escaped(&String::from_utf8_lossy(self.take(length)));
            }
            tag::FALSE => text.raw(b"false"),
            tag::TRUE => text.raw(b"true"),
            tag::NONE => text.raw(b"%-"),
            tag::SOME => {
                // What is written by hand may be a lone `None`.
                let optional = [tag::NONE, tag::SOME, tag::CUSTOM].iter().any(|tag| self.at(*tag));
                if optional || strictness == Strictness::AnyType {
                    text.raw(b"%+");
                }
                self.render_next(strictness, text);
            }
            tag::TUPLE => self.render_nested(b"(", b")", strictness, text),
            tag::LIST => self.render_nested(b"[", b"]", strictness, text),
            tag::CUSTOM => self.render_custom(strictness, text),
            tag::IPV4 => text.escaped(&Ipv4Addr::from(self.array::<4>()).to_string()),
            tag::IPV6 => text.escaped(&Ipv6Addr::from(self.array::<16>()).to_string()),
            unknown => debug_assert!(false, "no part starts with {unknown}"),
        }
    }

    fn render_nested(&mut self, open: &[u8], close: &[u8], inside: Strictness, text: &mut Text) {
        text.raw(open);
        let mut first = true;
        while !self.at(tag::CLOSE) {
            if !std::mem::take(&mut first) {
                text.byte(b',');
            }
            self.render_next(inside, text);
        }
        self.tag();
        text.raw(close);
    }

    /// `42` for one number, `~(42,'en)` for several parts, and among parts of any type always so.
    fn render_custom(&mut self, strictness: Strictness, text: &mut Text) {
        let may_be_one = strictness == Strictness::TypeKnown;
        if may_be_one && !self.at(tag::CUSTOM) && !self.at(tag::CLOSE) {
            let mut one = Text(SmallVec::new());
            let mut ahead = Parts { rest: self.rest };
            ahead.render_next(Strictness::AnyType, &mut one);
            if ahead.at(tag::CLOSE) {
                ahead.tag();
                self.rest = ahead.rest;
                return text.raw(&one.0);
            }
        }
        self.render_nested(b"~(", b")", Strictness::AnyType, text);
    }
}

impl Text {
    fn number(&mut self, number: impl itoa::Integer) {
        self.raw(itoa::Buffer::new().format(number).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::key::{KeyBytes, KeyPart, KeyWriter};

    struct ByHand(Option<u8>);

    impl KeyPart for ByHand {
        fn write(&self, out: &mut KeyWriter<'_>) {
            out.part(&self.0);
            out.part("end");
        }
    }

    type Write<'a> = &'a dyn Fn(&mut KeyWriter<'_>);

    /// Each form that a part can have.
    fn each(write: &mut dyn FnMut(Write<'_>)) {
        write(&|out| out.part(&7u8));
        write(&|out| out.part(&-7i64));
        write(&|out| out.part(&u128::MAX));
        write(&|out| out.part(&i128::MIN));
        write(&|out| out.part("a:b"));
        write(&|out| out.part(""));
        write(&|out| out.part(&*"x".repeat(300)));
        write(&|out| out.part(&true));
        write(&|out| out.part(&None::<u8>));
        write(&|out| out.part(&Some(Some("deep"))));
        write(&|out| out.part(&(1u8, "two", Some(3u8))));
        write(&|out| out.part(&[[1u8, 2], [3, 4]]));
        write(&|out| out.part::<[u8]>(&[]));
        write(&|out| out.part(&ByHand(Some(1))));
        write(&|out| out.part(&Some(ByHand(None))));
        write(&|out| out.typed(&5u8));
        write(&|out| out.part(&Ipv4Addr::LOCALHOST));
        write(&|out| out.part(&Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn a_part_of_any_form_is_found_by_where_it_stands() {
        let mut all = KeyBytes::new();
        let mut alone = Vec::new();
        each(&mut |write| {
            write(&mut all.writer());
            let mut one = KeyBytes::new();
            write(&mut one.writer());
            alone.push(one.as_slice(&mut [0; 9]).to_vec());
        });
        let all = all.as_slice(&mut [0; 9]).to_vec();
        for (at, one) in alone.iter().enumerate() {
            let parts: &'static [usize] = Box::leak(Box::new([at]));
            let tags: &'static [Tag] = Box::leak(Box::new([Tag { template: "tag:{}", parts }]));
            let found: Vec<_> = KeyText::of_tags(tags, &all).collect();
            assert_eq!(found, [KeyText::of_tag("tag:{}", one)], "part {at}");
            let rest = Parts { rest: &all }.skip(at + 1);
            assert_eq!(rest, &alone[at + 1..].concat());
        }
    }

    const TAGS: &[Tag] = &[
        Tag { template: "all", parts: &[] },
        Tag { template: "of:{}:{}", parts: &[2, 0] },
        Tag { template: "of:{}-{}", parts: &[1, 1] },
    ];

    #[test]
    fn a_tag_has_the_parts_that_it_names_in_its_own_order() {
        let mut key = KeyBytes::new();
        key.writer().part(&1u8);
        key.writer().part("two");
        key.writer().part(&Some(3u8));
        let place = &mut [0; 9];
        let texts = KeyText::of_tags(TAGS, key.as_slice(place));
        let texts: Vec<_> = texts.map(|text| text.to_text()).collect();
        assert_eq!(texts, ["all", "of:3:1", "of:(two)-two"]);
    }
}
