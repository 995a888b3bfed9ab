use larder::cached;

#[cached(ttl = 60, key = "user:{id}", stale = 30, max_wait = "200ms", detached = false)]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
