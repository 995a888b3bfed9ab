use larder::cached;

#[cached(ttl = 60, none_ttl = 5, key = "user:{id}")]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
