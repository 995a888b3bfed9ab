use larder::invalidates;

#[invalidates]
async fn rename(id: u64) -> Result<(), String> {
    Err(id.to_string())
}

fn main() {}
