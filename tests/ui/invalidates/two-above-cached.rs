use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(get_user(id))]
#[larder::invalidates(get_user(2))]
#[cached(ttl = 60)]
async fn report(id: u64) -> u64 {
    id
}

fn main() {}
