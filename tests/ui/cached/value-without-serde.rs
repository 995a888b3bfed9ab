use larder::cached;

#[derive(Clone)]
struct User;

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<User, String> {
    Err(id.to_string())
}

fn main() {}
