#![doc = include_str!("../README.md")]

extern crate self as larder;

pub use cache_macros::{KeyPart, cached, invalidates, updates};
#[doc(hidden)]
pub use cache_runtime::__private;
pub use cache_runtime::*;
