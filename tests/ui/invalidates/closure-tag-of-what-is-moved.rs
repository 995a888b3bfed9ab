use larder::invalidates;

#[invalidates(|out| tag("team:{out}:{name}"))]
async fn add(name: String) -> Option<usize> {
    Some(name.into_bytes().len())
}

fn main() {}
