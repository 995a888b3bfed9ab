use larder::invalidates;

#[invalidates(get_user(1))]
struct User {
    id: u64,
}

fn main() {
    let _ = User { id: 1 };
}
