use larder::cached;

#[cached(ttl = 60, jitter = "soon", none_ttl = 0.5, key = "user:{id}")]
async fn get_user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
