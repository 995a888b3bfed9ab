use larder::{RateLimited, rate_limited};

struct User(u64);

#[rate_limited(limit = 10, per = "1m", key = "send:{of}")]
async fn send(of: &User) -> Result<u64, RateLimited> {
    Ok(of.0)
}

fn main() {}
