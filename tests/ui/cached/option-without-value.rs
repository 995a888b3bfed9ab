use larder::cached;

#[cached(ttl, key = "user:{id}", none_ttl =, jitter(10))]
async fn get_user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
