use larder::cached;

const SECS: u64 = 60;

#[cached(ttl = SECS, key = "user:{id}")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
