use larder::{LockError, locked};

#[locked(key = "job:{id}", wiat = 5)]
async fn send(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

fn main() {}
