use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 10, per = "1m", cost = ids.len())]
async fn send(ids: &[u64]) -> Result<usize, RateLimited> {
    Ok(ids.len())
}

fn main() {}
