use larder::cached;

struct Lang;
struct Opts {
    lang: Lang,
}

#[cached(ttl = 60, key = "page", tags("lang:{opts.lang}"), skip(opts))]
async fn page(opts: Opts) -> u64 {
    let Lang = opts.lang;
    1
}

fn main() {}
