use larder::cached;

#[cached(ttl = 60, key = "user:{id}", detached = true, remote = true, local = true)]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
