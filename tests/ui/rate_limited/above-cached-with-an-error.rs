use larder::{RateLimited, cached, rate_limited};

#[rate_limited(limit = 10, per = "1m", burst = 0)]
#[cached(ttl = 60)]
async fn send(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {
    let _ = send(1).peek();
}
