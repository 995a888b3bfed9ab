use larder::updates;

#[updates(std::future::ready(id))]
async fn rename(id: u64) -> Result<String, String> {
    Err(id.to_string())
}

fn main() {}
