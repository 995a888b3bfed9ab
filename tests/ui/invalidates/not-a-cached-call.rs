use larder::invalidates;

#[invalidates(tokio::time::sleep(std::time::Duration::from_secs(id)))]
async fn rename(id: u64) -> Result<(), String> {
    Err(id.to_string())
}

fn main() {}
