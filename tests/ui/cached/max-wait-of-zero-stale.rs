use larder::cached;

#[cached(ttl = 60, key = "user:{id}", stale = 0, max_wait = "200ms")]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
