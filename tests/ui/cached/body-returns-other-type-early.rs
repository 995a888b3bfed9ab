use larder::cached;

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Option<u64> {
    if id == 0 {
        return Err("no such user");
    }
    Some(id)
}

fn main() {}
