use larder::cached;

struct User;

#[cached(ttl = 60, key = "user:{id}", remote = false)]
async fn get_user(id: u64) -> Result<Option<User>, String> {
    Err(id.to_string())
}

fn main() {}
