use larder::cached;

#[cached(ttl = 60, key = "user:{id²}")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
