use larder::{rate_limited};

#[rate_limited(limit = 10, per = "1m")]
async fn send(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
