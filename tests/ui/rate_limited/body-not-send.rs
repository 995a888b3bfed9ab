use larder::{RateLimited, rate_limited};

#[rate_limited(limit = 10, per = "1m")]
async fn send(id: u64) -> Result<u64, RateLimited> {
    let id = std::rc::Rc::new(id);
    std::future::ready(()).await;
    Ok(*id)
}

fn main() {
    fn is_send(_: impl Send) {}
    is_send(send(1));
}
