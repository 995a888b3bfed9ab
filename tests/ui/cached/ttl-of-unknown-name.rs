use larder::cached;

#[cached(ttl = TTL, key = "user:{id}")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
