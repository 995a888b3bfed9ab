use larder::{LockError, locked};

#[locked(key = "job:{id}")]
async fn send(id: u64) -> Result<u64, LockError> {
    Ok(id.to_string())
}

fn main() {}
