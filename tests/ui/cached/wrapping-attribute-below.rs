use larder::cached;

#[cached(ttl = 60)]
#[tokio::main]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {
    let _ = get_user(1).peek();
}
