use larder::{LockError, cached, locked};

#[locked(key = "job:{id}", lease = "1ms")]
#[cached(ttl = 60)]
async fn send(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

fn main() {
    let _ = send(1).peek();
}
