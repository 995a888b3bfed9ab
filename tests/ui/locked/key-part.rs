use larder::{LockError, locked};

struct User(u64);

#[locked(key = "job:{of}")]
async fn send(of: &User) -> Result<u64, LockError> {
    Ok(of.0)
}

fn main() {}
