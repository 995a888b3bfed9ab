use larder::{RateLimited, cached, invalidates, rate_limited};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> u64 {
    id
}

#[rate_limited(limit = 10, per = "1m")]
#[invalidates(get_user(id))]
#[rate_limited(limit = 100, per = "1h")]
#[cached(ttl = 60)]
async fn report(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn main() {
    let _ = report(1).peek();
}
