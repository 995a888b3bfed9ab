use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 10, per = "1m", lease = 30)]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
