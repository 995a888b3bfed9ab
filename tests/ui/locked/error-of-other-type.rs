use larder::{locked};

#[locked(key = "job:{id}")]
async fn send(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
