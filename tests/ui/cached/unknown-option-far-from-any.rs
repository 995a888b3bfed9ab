use larder::cached;

#[cached(ttl = 60, colour = "blue", key = "user:{id}")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
