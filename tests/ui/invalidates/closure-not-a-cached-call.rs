use larder::invalidates;

#[invalidates(|out| out.len())]
async fn rename(id: u64) -> Option<String> {
    Some(id.to_string())
}

fn main() {}
