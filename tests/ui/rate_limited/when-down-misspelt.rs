use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 10, per = "1m", when_down = "locla")]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
