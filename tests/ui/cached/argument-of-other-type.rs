use larder::cached;

#[cached(ttl = 60)]
async fn get_user(id: u64) -> u64 {
    id
}

async fn caller() -> u64 {
    get_user("1").await
}

fn main() {}
