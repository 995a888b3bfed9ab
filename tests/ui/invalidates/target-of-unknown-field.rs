use larder::{cached, invalidates};

struct User {
    id: u64,
}

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(|out| get_user(out.idd))]
async fn rename(id: u64) -> Result<User, String> {
    Ok(User { id })
}

fn main() {}
