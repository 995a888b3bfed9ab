use larder::cached;

#[cached(ttl = 60, key = "page:{slug}", tags(("size:{size}", size = 0.5)))]
async fn page(slug: &str) -> String {
    slug.to_owned()
}

fn main() {}
