//! A run that may leave its caller has to be `Send`, which nobody knows of itself yet.

use larder::cached;

#[cached(ttl = 60, key = "fib:{n}", stale = 30)]
async fn fib(n: u64) -> u64 {
    if n < 2 { n } else { Box::pin(fib(n - 1)).await + Box::pin(fib(n - 2)).await }
}

fn main() {}
