use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(|id| get_user(*id + name.len() as u64))]
async fn rename(id: u64, name: String) -> u64 {
    drop(name);
    id
}

fn main() {}
