use larder::cached;

#[cached(key = "user:{id}")]
async fn get_user(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {
    let _ = get_user(1).invalidate();
    let _ = async { get_user(1).await?.checked_add(1).ok_or(String::new()) };
}
