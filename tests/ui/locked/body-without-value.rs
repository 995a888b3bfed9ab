use larder::{LockError, locked};

#[locked(key = "job:{id}")]
async fn send(id: u64) -> Result<u64, LockError> {
    let _ = id;
}

fn main() {}
