use larder::cached;

#[cached(ttl = "5x", key = "user:{id}")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
