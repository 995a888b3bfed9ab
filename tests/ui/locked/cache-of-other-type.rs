use larder::{LockError, locked};

#[locked(key = "job:{id}", cache = id)]
async fn send(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

fn main() {}
