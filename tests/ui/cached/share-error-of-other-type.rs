use larder::cached;

#[cached(ttl = 60, key = "user:{id}", share_error = |error| error.to_string())]
async fn get_user(id: u64) -> std::io::Result<u64> {
    Ok(id)
}

fn main() {}
