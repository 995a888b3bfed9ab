use larder::cached;

#[cached(ttl = 60, key = "user:{id}", stale = 0, stale_if_error = "0s")]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
