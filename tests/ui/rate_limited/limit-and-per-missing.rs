use larder::{RateLimited, rate_limited};

#[rate_limited]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {}
