//! larder with tags, over what is in the key.

use super::{Calls, Contestant};
use crate::values::{for_each_value, load};

pub struct One;

pub struct Three;

pub struct Eight;

/// An error for each number of tags: functions of one type share what drops their calls, and it
/// depends on how many they are whether the compiler keeps it out of line.
#[derive(Clone)]
enum Never<const TAGS: usize> {}

macro_rules! contestants {
    ($($type:ident: $name:literal, $tags:literal;)*) => {$(
        impl Contestant for $type {
            const NAME: &'static str = $name;
            const TAGS: u32 = $tags;

            fn set_up(capacity: usize) {
                super::larder::Larder::set_up(capacity);
            }
        }
    )*};
}
contestants! {
    One: "larder, 1 tag", 1;
    Three: "larder, 3 tags", 3;
    Eight: "larder, 8 tags", 8;
}

macro_rules! tagged {
    ($name:ident, $capacity:tt, $value:ty) => {
        mod $name {
            use super::*;

            #[::larder::cached(ttl = 3600, key = "user:{id}", tags("of:{id}"))]
            async fn one(id: u64) -> Result<$value, Never<1>> {
                Ok(load(id).await)
            }

            #[::larder::cached(
                ttl = 3600,
                key = "user:{id}",
                tags("of:{id}", "users", "team:{id}:a")
            )]
            async fn three(id: u64) -> Result<$value, Never<3>> {
                Ok(load(id).await)
            }

            #[::larder::cached(
                ttl = 3600,
                key = "user:{id}",
                tags(
                    "of:{id}",
                    "users",
                    "team:{id}:a",
                    "people",
                    "team:{id}:b",
                    "all",
                    "team:{id}:c",
                    "everything"
                )
            )]
            async fn eight(id: u64) -> Result<$value, Never<8>> {
                Ok(load(id).await)
            }

            calls! {
                $value;
                One: one;
                Three: three;
                Eight: eight;
            }
        }
    };
}
for_each_value!(tagged);
