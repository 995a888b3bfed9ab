//! No cache: a task that sleeps as long as the function takes, and returns a clone of one value.
//! What a stampede costs beyond this is the cache's doing.

use std::sync::LazyLock;

use super::{Calls, Contestant};
use crate::measure::{Kind, STAMPEDE_RUN};
use crate::values::{Value, for_each_value};

pub struct Alone;

impl Contestant for Alone {
    const NAME: &'static str = "the tasks alone";
    const LEFT_OUT: &'static [Kind] =
        &[Kind::Hit, Kind::Instructions, Kind::Miss, Kind::Cancelled, Kind::Memory];
}

macro_rules! alone {
    ($name:ident, $capacity:tt, $value:ty) => {
        impl Calls<$value> for Alone {
            async fn call(_id: u64) -> $value {
                static VALUE: LazyLock<$value> = LazyLock::new(|| Value::new(0));
                tokio::time::sleep(STAMPEDE_RUN).await;
                VALUE.clone()
            }
        }
    };
}
for_each_value!(alone);
