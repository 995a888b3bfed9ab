use larder::{cached, updates};
use std::sync::Arc;

struct Order(u64);

#[cached(ttl = 60, remote = false, key = "order:{id}")]
async fn get_order(id: u64) -> Result<Arc<Order>, String> {
    Ok(Arc::new(Order(id)))
}

#[updates(get_order(id))]
async fn put_order(id: u64) -> Result<Order, String> {
    Ok(Order(id))
}

fn main() {}
