use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::bytes::{KeyWriter, tag};

/// A type that can be part of a cache key.
///
/// It has to have one canonical form: floats and hash maps do not (`0.0 == -0.0`, and a map
/// iterates in any order), so they are not key parts; neither is anything by its `Debug` output,
/// which may hide what tells two values apart.
///
/// Derive it for structs and enums of key parts. A struct with one unnamed field is its field:
///
/// ```
/// use larder::KeyPart;
///
/// #[derive(KeyPart)]
/// struct UserId(u64);
///
/// #[derive(KeyPart)]
/// enum Lookup {
///     ById(UserId),
///     ByName { name: String, exact: bool },
/// }
/// ```
///
/// By hand, write everything that tells two values apart, with [`KeyWriter::part`]:
///
/// ```
/// use larder::{KeyPart, KeyWriter};
///
/// struct Tenant { id: u32, display_name: String }
///
/// impl KeyPart for Tenant {
///     fn write(&self, out: &mut KeyWriter<'_>) {
///         out.part(&self.id); // the name follows from the id
///     }
/// }
/// ```
///
/// A part does not say of which type it is where values of several print as one: a number is the
/// same part whatever its width, a `char` is a string, a `Duration` the number of its nanoseconds,
/// and an empty list or a `None` is that of any type. Where it could be one or the other, write
/// first which it is: `out.part("days"); out.part(&days)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a cache key",
    label = "not a key part",
    note = "derive it: `#[derive(larder::KeyPart)]`, or name a form of it: `key = (\"…{{d}}\", d = value.to_string())`",
    note = "floats and hash maps have no single canonical form, so they are not key parts"
)]
pub trait KeyPart {
    /// Writes everything that tells two values apart.
    fn write(&self, out: &mut KeyWriter<'_>);

    #[doc(hidden)]
    const NESTING: Nesting = Nesting::Custom;
}

/// Whether what a type writes says by itself where it ends and of what type it is.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Nesting {
    /// By itself: the types here, and derived ones.
    Plain,
    /// Written by hand: in brackets.
    Custom,
}

macro_rules! key_parts {
    ($($type:ty: |$part:ident, $out:ident| $write:expr;)*) => {$(
        // A few of the many impls would be listed in each error.
        #[diagnostic::do_not_recommend]
        impl KeyPart for $type {
            #[inline]
            fn write(&self, $out: &mut KeyWriter<'_>) {
                let $part = self;
                $write;
            }
            const NESTING: Nesting = Nesting::Plain;
        }
    )*};
}

key_parts! {
    u8: |part, out| out.unsigned(u64::from(*part));
    u16: |part, out| out.unsigned(u64::from(*part));
    u32: |part, out| out.unsigned(u64::from(*part));
    u64: |part, out| out.unsigned(*part);
    u128: |part, out| out.unsigned_wide(*part);
    usize: |part, out| out.unsigned_wide(*part as u128);
    i8: |part, out| out.signed(i64::from(*part));
    i16: |part, out| out.signed(i64::from(*part));
    i32: |part, out| out.signed(i64::from(*part));
    i64: |part, out| out.signed(*part);
    i128: |part, out| out.signed_wide(*part);
    isize: |part, out| out.signed_wide(*part as i128);
    num::NonZeroU8: |part, out| part.get().write(out);
    num::NonZeroU16: |part, out| part.get().write(out);
    num::NonZeroU32: |part, out| part.get().write(out);
    num::NonZeroU64: |part, out| part.get().write(out);
    num::NonZeroU128: |part, out| part.get().write(out);
    num::NonZeroUsize: |part, out| part.get().write(out);
    num::NonZeroI8: |part, out| part.get().write(out);
    num::NonZeroI16: |part, out| part.get().write(out);
    num::NonZeroI32: |part, out| part.get().write(out);
    num::NonZeroI64: |part, out| part.get().write(out);
    num::NonZeroI128: |part, out| part.get().write(out);
    num::NonZeroIsize: |part, out| part.get().write(out);
    bool: |part, out| out.mark(if *part { tag::TRUE } else { tag::FALSE });
    char: |part, out| out.str(part.encode_utf8(&mut [0; 4]));
    str: |part, out| out.str(part);
    String: |part, out| out.str(part);
    Cow<'_, str>: |part, out| out.str(part);
    Duration: |part, out| out.unsigned_wide(part.as_nanos());
    Ipv4Addr: |part, out| out.tagged(tag::IPV4, &part.octets());
    Ipv6Addr: |part, out| out.tagged(tag::IPV6, &part.octets());
    IpAddr: |part, out| match part {
        IpAddr::V4(address) => address.write(out),
        IpAddr::V6(address) => address.write(out),
    };
    SocketAddrV4: |part, out| (*part.ip(), part.port()).write(out);
    SocketAddrV6: |part, out| (*part.ip(), part.port(), part.flowinfo(), part.scope_id()).write(out);
    SocketAddr: |part, out| match part {
        SocketAddr::V4(address) => address.write(out),
        SocketAddr::V6(address) => address.write(out),
    };
}

macro_rules! transparent_parts {
    ($($type:ty),*) => {$(
        impl<T: KeyPart + ?Sized> KeyPart for $type {
            #[inline]
            fn write(&self, out: &mut KeyWriter<'_>) {
                out.part::<T>(self);
            }
            const NESTING: Nesting = Nesting::Plain;
        }
    )*};
}

transparent_parts!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

impl<T: KeyPart> KeyPart for Option<T> {
    fn write(&self, out: &mut KeyWriter<'_>) {
        match self {
            None => out.mark(tag::NONE),
            Some(part) => {
                out.mark(tag::SOME);
                out.part(part);
            }
        }
    }
    const NESTING: Nesting = Nesting::Plain;
}

fn write_list<T: KeyPart>(parts: impl IntoIterator<Item = T>, out: &mut KeyWriter<'_>) {
    out.nested(tag::LIST, |out| parts.into_iter().for_each(|part| out.part(&part)));
}

impl<T: KeyPart> KeyPart for [T] {
    fn write(&self, out: &mut KeyWriter<'_>) {
        write_list(self, out);
    }
    const NESTING: Nesting = Nesting::Plain;
}

impl<T: KeyPart> KeyPart for Vec<T> {
    fn write(&self, out: &mut KeyWriter<'_>) {
        write_list(self, out);
    }
    const NESTING: Nesting = Nesting::Plain;
}

impl<T: KeyPart, const N: usize> KeyPart for [T; N] {
    fn write(&self, out: &mut KeyWriter<'_>) {
        write_list(self, out);
    }
    const NESTING: Nesting = Nesting::Plain;
}

impl<T: KeyPart> KeyPart for BTreeSet<T> {
    fn write(&self, out: &mut KeyWriter<'_>) {
        write_list(self, out);
    }
    const NESTING: Nesting = Nesting::Plain;
}

impl<K: KeyPart, V: KeyPart> KeyPart for BTreeMap<K, V> {
    fn write(&self, out: &mut KeyWriter<'_>) {
        write_list(self, out);
    }
    const NESTING: Nesting = Nesting::Plain;
}

macro_rules! tuple_parts {
    ($(($($name:ident),*))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($name: KeyPart),*> KeyPart for ($($name,)*) {
            #[allow(non_snake_case, reason = "the fields are named as their types")]
            fn write(&self, out: &mut KeyWriter<'_>) {
                let ($($name,)*) = self;
                out.tuple(|_out| { $(_out.part($name);)* });
            }
            const NESTING: Nesting = Nesting::Plain;
        }
    )*};
}

tuple_parts! {
    () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H)
}

#[cfg(feature = "uuid")]
key_parts! {
    uuid::Uuid: |part, out| out.str(part.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
}

#[cfg(feature = "chrono")]
mod of_chrono {
    use chrono::{
        DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta,
        Timelike as _, Utc,
    };

    use super::{KeyPart, KeyWriter, Nesting};

    key_parts! {
        NaiveDate: |part, out| (part.year(), part.ordinal()).write(out);
        NaiveTime: |part, out| (part.num_seconds_from_midnight(), part.nanosecond()).write(out);
        NaiveDateTime: |part, out| (part.date(), part.time()).write(out);
        TimeDelta: |part, out| (part.num_seconds(), part.subsec_nanos()).write(out);
        DateTime<Utc>: |part, out| (part.naive_utc(), 0).write(out);
        // The offset too: a function may well print it. Not for every time zone: two of them may
        // have one offset, and a name besides.
        DateTime<FixedOffset>: |part, out| {
            (part.naive_utc(), part.offset().local_minus_utc()).write(out);
        };
    }
}

#[cfg(feature = "time")]
mod of_time {
    use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    use super::{KeyPart, KeyWriter, Nesting};

    key_parts! {
        Date: |part, out| part.to_ordinal_date().write(out);
        Time: |part, out| part.as_hms_nano().write(out);
        PrimitiveDateTime: |part, out| (part.date(), part.time()).write(out);
        UtcOffset: |part, out| part.whole_seconds().write(out);
        Duration: |part, out| part.whole_nanoseconds().write(out);
        // The offset too: a function may well print it.
        OffsetDateTime: |part, out| (part.date(), part.time(), part.offset()).write(out);
    }
}
