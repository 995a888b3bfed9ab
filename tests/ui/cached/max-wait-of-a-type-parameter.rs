use larder::{KeyPart, cached};

#[cached(ttl = 60, key = "text:{T}:{value}", stale = 30, max_wait = "200ms")]
async fn text<T: KeyPart + ToString + Send>(value: T) -> String {
    value.to_string()
}

fn main() {}
