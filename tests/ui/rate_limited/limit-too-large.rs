use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 5_000_000_000, per = "1m")]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
