use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(get_user(id), cache = larder::Cache::memory())]
async fn rename(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
