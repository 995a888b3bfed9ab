use larder::cached;

#[cached(ttl = 60, key = "user:{id}", stale = "1h", stale_if_error = "60m")]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
