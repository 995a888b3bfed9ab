use larder::cached;

struct Order;

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

fn main() {
    let _ = get_user(1).put(Order);
}
