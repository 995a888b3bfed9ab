use larder::{LockError, locked};

#[locked(key = "job:{id}")]
async fn send(id: u64) -> Result<u64, LockError> {
    let id = std::rc::Rc::new(id);
    std::future::ready(()).await;
    Ok(*id)
}

fn main() {
    fn is_send(_: impl Send) {}
    is_send(send(1));
}
