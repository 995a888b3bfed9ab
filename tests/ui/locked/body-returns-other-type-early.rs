use larder::{LockError, locked};

#[locked(key = "job:{id}")]
async fn send(id: u64) -> Result<u64, LockError> {
    if id == 0 {
        return Ok("nobody");
    }
    Ok(id)
}

fn main() {}
