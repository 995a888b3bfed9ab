use larder::cached;

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> u64 {
    let count = std::rc::Rc::new(id);
    std::future::ready(()).await;
    *count
}

fn main() {
    tokio::spawn(get_user(1));
}
