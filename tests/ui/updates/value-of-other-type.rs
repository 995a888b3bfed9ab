use larder::{cached, updates};

#[derive(Clone)]
struct Order(u64);

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[updates(get_user(id))]
async fn order(id: u64) -> Result<Order, String> {
    Ok(Order(id))
}

fn main() {}
