use larder::{cached, invalidates};

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(id.to_string())
}

#[invalidates(get_user(id))]
async fn rename(id: u64) -> std::rc::Rc<u64> {
    std::rc::Rc::new(id)
}

fn assert_send<T: Send>(_: T) {}

fn main() {
    assert_send(rename(1));
}
