use larder::{LockError, locked};

struct User {
    name: u64,
}

#[locked(key = "job:{of.nme}")]
async fn send(of: &User) -> Result<u64, LockError> {
    Ok(of.name)
}

fn main() {}
