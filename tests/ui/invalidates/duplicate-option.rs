use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(get_user(id), on = "ok", on = "always")]
async fn rename(id: u64) -> Result<(), String> {
    Err(id.to_string())
}

fn main() {}
