use larder::{RateLimited, rate_limited};

struct User {
    name: u64,
}

#[rate_limited(limit = 10, per = "1m", key = "send:{of.nme}")]
async fn send(of: &User) -> Result<u64, RateLimited> {
    Ok(of.name)
}

fn main() {}
