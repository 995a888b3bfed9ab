//! There is no error to share.

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", share_error = |error| error.clone())]
async fn get_user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
