use larder::invalidates;

struct Lang;
struct Opts {
    lang: Lang,
}

#[invalidates(tag("lang:{opts.lang}"))]
async fn change(opts: Opts) -> u64 {
    let Lang = opts.lang;
    1
}

fn main() {}
