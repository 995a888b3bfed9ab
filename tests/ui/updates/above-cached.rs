use larder::{cached, updates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[updates(get_user(id))]
#[cached(ttl = 60)]
async fn report(id: u64) -> String {
    id.to_string()
}

fn main() {
    let _ = report(1).peek();
}
