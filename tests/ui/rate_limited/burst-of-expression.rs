use larder::{RateLimited, rate_limited};

const MOST: u32 = 20;

#[rate_limited(limit = 10, per = "1m", burst = MOST)]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
