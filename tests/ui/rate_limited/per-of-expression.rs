use larder::{RateLimited, rate_limited};

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

#[rate_limited(limit = 10, per = MINUTE)]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
