use larder::updates;

#[updates(value = |out| out.clone())]
async fn rename(id: u64) -> Result<String, String> {
    Err(id.to_string())
}

fn main() {}
