use larder::{locked};

#[locked(key = "job:{id}")]
async fn send(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
