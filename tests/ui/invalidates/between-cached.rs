use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[cached(ttl = 60)]
#[invalidates(get_user(id))]
#[larder::cached(ttl = 30)]
async fn report(id: u64) -> u64 {
    id
}

fn main() {}
