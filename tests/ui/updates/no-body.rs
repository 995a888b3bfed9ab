use larder::{cached, updates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

trait Users {
    #[updates(get_user(id))]
    async fn rename(&self, id: u64) -> String;
}

fn main() {}
