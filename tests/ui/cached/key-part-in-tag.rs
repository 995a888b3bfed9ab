use larder::cached;

struct Opts;

#[cached(ttl = 60, key = "page:{slug}", tags("slug:{slug}:{opts}"), skip(opts))]
async fn page(slug: &str, opts: Opts) -> String {
    let Opts = opts;
    slug.to_owned()
}

fn main() {}
