use larder::cached;

#[cached(ttl = 60, key = "user:{id}", stale = 30)]
async fn get_user(id: u64) -> u64 {
    let count = std::rc::Rc::new(id);
    std::future::ready(()).await;
    *count
}

fn main() {}
