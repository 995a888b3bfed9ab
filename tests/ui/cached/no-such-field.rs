use larder::cached;

struct Opts {
    lang: String,
}

#[cached(ttl = 60, key = "page:{opts.language}")]
async fn page(opts: Opts) -> String {
    opts.lang
}

fn main() {}
