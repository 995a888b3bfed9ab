//! The cache of a process that installs none. One test: the default stays.

use larder::{Cache, InstallError, cached};

#[cached(ttl = 60, key = "answer")]
async fn answer() -> u32 {
    42
}

#[tokio::test]
async fn without_an_installed_cache_a_default_serves_and_stays() {
    assert_eq!(answer().peek().await, None);
    assert_eq!(answer().await, 42);
    assert_eq!(answer().peek().await, Some(42));
    assert_eq!(Cache::memory().install(), Err(InstallError::AlreadyUsed));
    assert_eq!(Cache::current().stats().function("answer").unwrap().runs, 1);
}
