#![doc = include_str!("../README.md")]

extern crate self as larder;

#[cfg(feature = "limit")]
pub use cache_macros::rate_limited;
pub use cache_macros::{KeyPart, cached, invalidates, locked, updates};
#[doc(hidden)]
pub use cache_runtime::__private;
pub use cache_runtime::*;
