use larder::cached;

#[cached(ttl = 60)]
/// A user.
#[tracing::instrument(skip_all)]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
