use larder::{cached, updates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[updates(get_user(id), colour = 5)]
async fn rename(id: u64) -> Result<String, String> {
    Err(id.to_string())
}

fn main() {}
