use larder::cached;

#[cached(ttl = 60, key = "user:{id}", ttl = 30)]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
