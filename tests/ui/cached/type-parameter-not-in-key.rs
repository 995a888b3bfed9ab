use larder::{KeyPart, cached};

#[cached(ttl = 60, key = "show:{value}")]
async fn show<T: KeyPart + ToString>(value: T) -> String {
    value.to_string()
}

fn main() {}
