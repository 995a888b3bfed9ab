use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 0, per = "5x", algorithm = "leaky")]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
