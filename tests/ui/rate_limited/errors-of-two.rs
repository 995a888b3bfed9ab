use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 0, per = "1s")]
#[rate_limited(limit = 10, per = "1h", cost = 11)]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
