use larder::{locked, rate_limited};

#[locked(key = "job:{id}")]
#[rate_limited(limit = 10, per = "1m")]
async fn send(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
