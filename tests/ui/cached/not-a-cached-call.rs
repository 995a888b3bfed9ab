use larder::IntoEntry;

fn drop_later(entry: impl IntoEntry) {
    let _ = entry;
}

fn main() {
    drop_later(std::future::ready(42));
}
