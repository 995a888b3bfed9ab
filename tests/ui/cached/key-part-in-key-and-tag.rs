use larder::cached;

struct Opts;

#[cached(ttl = 60, key = "page:{slug}:{opts}", tags("opts:{opts}:{slug}"))]
async fn page(slug: &str, opts: Opts) -> String {
    let Opts = opts;
    slug.to_owned()
}

fn main() {}
