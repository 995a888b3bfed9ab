use larder::{LockError, locked};

#[locked(key = "job:{id}", wait = "366d")]
async fn send(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

fn main() {}
