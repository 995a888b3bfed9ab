//! cachelito-async: an attribute over async functions. No bound, no TTL and no singleflight unless asked;
//! its `lru` walks a queue on every hit, so the default is what shows it best.

use std::convert::Infallible;

use super::{Calls, Contestant};
use crate::values::{for_each_value, load};

pub struct Plain;

impl Contestant for Plain {
    const NAME: &'static str = "cachelito";
}

macro_rules! cachelito {
    ($name:ident, $capacity:tt, $value:ty) => {
        mod $name {
            use super::*;

            #[cachelito_async::cache_async]
            async fn plain(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            impl Calls<$value> for Plain {
                async fn call(id: u64) -> $value {
                    let Ok(value) = plain(id).await;
                    value
                }
            }
        }
    };
}
for_each_value!(cachelito);
