use larder::cached;

#[cached(ttl = 60, key = "user:{name}:{text}:{id}", stale = 30, max_wait = "200ms")]
async fn get_user(name: &str, text: std::borrow::Cow<'_, str>, id: u64) -> String {
    format!("{name} {text} {id}")
}

fn main() {}
