use larder::cached;

struct Opts {
    lang: String,
}

#[cached(ttl = 60, key = "page", tags("lang:{opts.language}"), skip(opts))]
async fn page(opts: Opts) -> String {
    opts.lang
}

fn main() {}
