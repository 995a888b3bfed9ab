use larder::cached;

#[cached(ttl = 60, key = "text:{text}")]
async fn text(text: impl AsRef<str>) -> String {
    text.as_ref().to_owned()
}

fn main() {}
