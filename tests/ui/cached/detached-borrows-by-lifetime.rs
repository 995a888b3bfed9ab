use larder::cached;

#[cached(ttl = 60, key = "length:{text}", detached, skip(by))]
async fn length<'a>(text: std::borrow::Cow<'a, str>, by: fn(&str) -> &str) -> usize {
    by(&text).len()
}

fn main() {}
