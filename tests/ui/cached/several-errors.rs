use larder::cached;

#[cached(ttl = "5x", jiter = 10, key = "user:{id}", skip(id))]
async fn get_user(id: u64, lang: &str) -> String {
    format!("{id} {lang}")
}

fn main() {}
