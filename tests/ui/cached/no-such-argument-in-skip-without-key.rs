use larder::cached;

#[cached(ttl = 60, skip(dbb))]
async fn get_user(db: (), id: u64) -> u64 {
    id
}

fn main() {}
