//! Events of the process alone.

use std::time::Duration;

use larder::{Cache, Limiter, RateLimited, cached, rate_limited};
use tracing::{Instrument as _, Level, info_span};

use crate::watch::{TELLING, Watch};

const HOUR: Duration = Duration::from_secs(3600);

#[rate_limited(limit = 1, per = 3600, key = "login:{name}", cache = cache)]
async fn login(cache: &Cache, name: &str) -> Result<(), RateLimited> {
    Ok(())
}

#[tokio::test]
async fn a_limit_that_denies() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    login(&cache, TELLING).await.unwrap();
    assert!(watch.all_events().is_empty());
    login(&cache, TELLING).instrument(info_span!("request")).await.unwrap_err();
    let limiter = Limiter::new(&cache, "searches", 1, HOUR);
    limiter.check(TELLING).await.unwrap();
    limiter.check(TELLING).await.unwrap_err();

    let events = watch.events("larder.limit.denied");
    let told: Vec<_> =
        events.iter().map(|event| [&*event.fields["limit"], &event.fields["by"]]).collect();
    assert_eq!(told, [["login:{}", "memory"], ["searches", "memory"]]);
    assert_eq!((events[0].level, events[0].target), (Level::DEBUG, "larder::limit"));
    assert_eq!(events[0].message, "a limit denied a call");
    assert_eq!(watch.name_of(events[0].within), Some("request"));
}

#[cached(ttl = 60, key = "raced:{key}", cache = cache, skip(cache))]
async fn raced(cache: &Cache, key: &str) {
    cache.invalidate(&format!("raced:{key}")).await.unwrap();
}

#[tokio::test]
async fn a_result_that_is_outdated_when_it_comes() {
    let watch = Watch::default();
    let _here = watch.here();
    raced(&Cache::memory(), TELLING).await;
    let event = watch.event("larder.fill.refused");
    assert_eq!(event.fields["function"], "tracing::events::raced");
    assert_eq!((event.level, event.target), (Level::DEBUG, "larder::cache"));
    assert_eq!(watch.name_of(event.within), Some("larder.call"));
}
