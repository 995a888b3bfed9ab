use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 1.5, per = "1m")]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
