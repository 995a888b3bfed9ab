//! The cache of the process. One test: what is installed stays.

use std::time::Duration;

use larder::{Cache, InstallError, Options, Source, cached};

#[cached(ttl = 60, key = "answer")]
async fn answer() -> u32 {
    42
}

#[cached(ttl = 60, key = "named", cache = cache, skip(cache))]
async fn named(cache: &Cache) -> u32 {
    7
}

#[tokio::test]
async fn a_cache_is_installed_once_and_serves_all_calls_outside_of_a_scope() {
    // Calls that name their cache do not take the default, so it is not too late after them.
    let own = Cache::memory();
    assert_eq!(named(&own).await, 7);
    let load = async { Ok::<_, ()>(7) };
    let minute = Options::ttl(Duration::from_secs(60));
    assert_eq!(own.get_or_load("seven", minute, load).await, Ok(7));

    let installed = Cache::builder("installed").build().unwrap();
    installed.clone().install().unwrap();
    let again = Cache::memory().install();
    assert_eq!(again, Err(InstallError::AlreadyInstalled));
    // The installed one itself is no exception.
    assert_eq!(Cache::current().install(), Err(InstallError::AlreadyInstalled));

    answer().await;
    assert_eq!(installed.stats().function("answer").unwrap().runs, 1);
    let on_a_task = tokio::spawn(async { answer().with_source().await }).await.unwrap();
    assert!(matches!(on_a_task, (42, Source::Memory { .. })));
    let scoped = Cache::memory().scope(async { answer().peek().await }).await;
    assert_eq!(scoped, None);
}
