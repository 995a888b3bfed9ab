//! Keys: what names an entry.
//!
//! A key has two forms. Its **bytes** are what the local tier is looked up by: the number of the
//! entity (a template or a function, with the type of its value), then the arguments, each in a
//! form that says where it ends. They are written on every call, compared whole and never
//! hashed down. Its **text** (`user:42`) is what a person reads, what a remote tier stores under
//! and what flights and generations go by. It is made *from* the bytes, so equal bytes give
//! equal text by construction, and only when a load begins or an entry is named.

mod bytes;
mod part;
mod site;
mod tags;
mod text;

pub(crate) use bytes::{Apart, Lookup, Slots, StoredKey};
pub use bytes::{KeyBytes, KeyWriter};
pub use part::{KeyPart, Nesting};
pub use site::Site;
pub(crate) use site::{Instance, Jitter, Lifetimes, function, load_instance, serves_old};
#[cfg(feature = "limit")]
pub(crate) use site::{function_of, without_parameters};
pub use tags::Tag;
pub(crate) use tags::{MOST_TAGS, TagSet};
pub(crate) use text::KeyText;
