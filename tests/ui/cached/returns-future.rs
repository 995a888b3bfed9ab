use larder::cached;

#[cached(ttl = 60)]
fn get_user(id: u64) -> impl Future<Output = u64> {
    async move { id }
}

fn main() {}
