use larder::{locked};

#[locked(key = "job:{id}")]
async fn send(id: u64) {
    let _ = id;
}

fn main() {}
