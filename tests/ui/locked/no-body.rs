use larder::{LockError, locked};

trait Jobs {
    #[locked(key = "job")]
    async fn run(&self) -> Result<u64, LockError>;
}

fn main() {}
