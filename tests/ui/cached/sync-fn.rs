use larder::cached;

#[cached(ttl = 60)]
fn get_user(id: u64) -> u64 {
    id
}

fn main() {
    let _: u64 = get_user(1);
}
