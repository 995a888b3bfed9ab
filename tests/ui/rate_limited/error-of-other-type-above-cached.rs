use larder::{cached, rate_limited};

#[rate_limited(limit = 10, per = "1m")]
#[cached(ttl = 60)]
async fn send(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
