use larder::invalidates;

#[invalidates(on = "always")]
async fn rename(id: u64) -> Result<(), String> {
    Err(id.to_string())
}

fn main() {}
