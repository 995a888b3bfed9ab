use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(get_user(name))]
async fn rename(name: String) -> Option<String> {
    Some(name)
}

fn main() {}
