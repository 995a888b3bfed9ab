use larder::cached;

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    let user = id.to_string();
    Ok(Some(user))
}

fn main() {}
