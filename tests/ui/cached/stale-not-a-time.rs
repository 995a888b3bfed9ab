use larder::cached;

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

#[cached(ttl = 60, key = "user:{id}", stale = LONG, stale_if_error = "1w", max_wait = true)]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
