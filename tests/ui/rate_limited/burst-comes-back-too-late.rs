use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 1, per = "365d", burst = 100)]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
