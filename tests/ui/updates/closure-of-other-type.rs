use larder::{cached, updates};

struct Order(u64);

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[updates(get_user(id), value = |out| out.0)]
async fn order(id: u64) -> Result<Order, String> {
    Ok(Order(id))
}

fn main() {}
