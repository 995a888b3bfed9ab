use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(|out| get_user(*out), on = "always")]
async fn rename(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
