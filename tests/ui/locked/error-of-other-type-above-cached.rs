use larder::{cached, locked};

#[locked(key = "job:{id}")]
#[cached(ttl = 60)]
async fn send(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
