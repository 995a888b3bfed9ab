use larder::cached;

#[cached(ttl = 60, key = "user:{id}", refresh_early = 5)]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
