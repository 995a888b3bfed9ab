//! By syntax the argument is owned: `detached = false` says that it is not.

use std::borrow::Cow;

use larder::cached;

#[cached(ttl = 60, key = "length:{text}", stale = 30)]
async fn length(text: Cow<str>) -> usize {
    text.len()
}

fn main() {}
