use larder::cached;

#[cached(ttl = 60 seconds, jitter = *, key = "user:{id}")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
