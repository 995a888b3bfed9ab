use larder::cached;

struct Lang;
struct Opts {
    lang: Lang,
}

#[cached(ttl = 60, key = "page:{opts.lang}")]
async fn page(opts: Opts) -> u64 {
    let Lang = opts.lang;
    1
}

fn main() {}
