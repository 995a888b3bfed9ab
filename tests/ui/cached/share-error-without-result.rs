use larder::cached;

#[cached(ttl = 60, key = "user:{id}", share_error = |error| *error)]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
