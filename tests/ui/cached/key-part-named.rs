use larder::cached;

struct Opts;

#[cached(ttl = 60, key = ("page:{day}", day = opts))]
async fn page(opts: Opts) -> u64 {
    let Opts = opts;
    1
}

fn main() {}
