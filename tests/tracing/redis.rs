//! Of a real Redis with a password, and of the way there.

use std::time::Duration;

use larder::{Cache, CacheBuilder, Limiter, Lock, LockError, cached, invalidates};
use tokio::time::sleep;
use tracing::Level;

use crate::{
    common::{
        proxy::{Kind, Mode, Proxy},
        redis::RedisServer,
    },
    eventually,
    watch::{TELLING, Watch},
};

const HOUR: Duration = Duration::from_secs(3600);

#[cached(ttl = 600, key = "item:{id}", local = false, cache = cache, skip(cache))]
async fn item(cache: Cache, id: String) -> usize {
    id.len()
}

#[invalidates(item(cache.clone(), id), hold = "5s")]
async fn change(cache: &Cache, id: String) {}

fn id(number: u32) -> String {
    format!("{TELLING}{number}")
}

/// The password is as telling as a key.
fn server() -> RedisServer {
    RedisServer::start_with(&["--requirepass", TELLING])
}

/// One whose budget no busy machine uses up.
fn patient(service: &str, port: u16) -> CacheBuilder {
    let url = format!("redis://:{TELLING}@127.0.0.1:{port}");
    Cache::builder(service).redis(url).redis_budget(Duration::from_secs(10))
}

/// The levels and the services of all events of that name.
fn told(watch: &Watch, name: &str) -> Vec<(Level, String)> {
    let events = watch.events(name).into_iter();
    events
        .map(|event| {
            assert_eq!(event.target, "larder::redis");
            (event.level, event.fields["service"].clone())
        })
        .collect()
}

#[tokio::test]
async fn a_hit_in_redis() {
    let watch = Watch::default();
    let _here = watch.here();
    let server = server();
    let (one, other) = (
        patient("shop", server.port()).build().unwrap(),
        patient("shop", server.port()).build().unwrap(),
    );
    item(one, id(1)).await;
    item(other, id(1)).await;
    let outcomes = ["function", "redis"].map(|outcome| Some(outcome.to_owned()));
    assert_eq!(watch.outcomes("larder.call"), outcomes);
    assert_eq!(told(&watch, "larder.redis.connected"), vec![(Level::INFO, "shop".to_owned()); 2]);
    assert_eq!(watch.events("larder.redis.connected")[0].fields["connections"], "1");
    assert!(watch.events("larder.breaker.closed").is_empty(), "it was never open");
}

#[tokio::test]
async fn a_line_that_is_cut() {
    let watch = Watch::default();
    let _here = watch.here();
    let server = server();
    let proxy = Proxy::before(server.port());
    let cache = patient("cut", proxy.port()).build().unwrap();
    item(cache.clone(), id(1)).await;
    eventually("messages are heard", async || {
        cache.stats().redis.backplane_age.is_some_and(|age| age < Duration::from_secs(1))
    })
    .await;
    sleep(Duration::from_millis(100)).await;
    let troubles = ["breaker.opened", "backplane.broken", "repairs.pending", "hold.missed"];
    for trouble in troubles {
        assert!(watch.events(&format!("larder.{trouble}")).is_empty(), "{trouble}");
    }

    proxy.set(Mode::Cut);
    eventually("the breaker is open, and the backplane broken", async || {
        item(cache.clone(), id(2)).await;
        !watch.events("larder.breaker.opened").is_empty()
            && !watch.events("larder.backplane.broken").is_empty()
    })
    .await;
    for number in 1..4 {
        assert!(item(cache.clone(), id(number)).invalidate().await.is_err());
    }
    change(&cache, id(4)).await;
    let cut = |level| vec![(level, "cut".to_owned())];
    assert_eq!(told(&watch, "larder.breaker.opened"), cut(Level::WARN));
    assert_eq!(watch.event("larder.breaker.opened").fields["openings"], "1");
    assert_eq!(told(&watch, "larder.backplane.broken"), cut(Level::WARN));
    // Once, however many there are.
    assert_eq!(told(&watch, "larder.repairs.pending"), cut(Level::WARN));
    assert_eq!(told(&watch, "larder.hold.missed"), cut(Level::DEBUG));
    assert_eq!(watch.event("larder.hold.missed").fields["unheld"], "1");
    for end in ["breaker.closed", "backplane.heard", "repairs.landed"] {
        assert!(watch.events(&format!("larder.{end}")).is_empty(), "{end}");
    }

    proxy.set(Mode::Pass);
    eventually("all is well again", async || {
        item(cache.clone(), id(5)).await;
        let ends = ["breaker.closed", "backplane.heard", "repairs.landed"];
        ends.iter().all(|end| !watch.events(&format!("larder.{end}")).is_empty())
    })
    .await;
    assert_eq!(told(&watch, "larder.breaker.closed")[0], (Level::INFO, "cut".to_owned()));
    assert_eq!(told(&watch, "larder.backplane.heard")[0], (Level::INFO, "cut".to_owned()));
    assert_eq!(told(&watch, "larder.repairs.landed")[0], (Level::INFO, "cut".to_owned()));
    assert!(watch.events("larder.redis.connected").len() >= 2);

    // The end of a cache is no trouble.
    let troubles_before: Vec<_> =
        troubles.iter().map(|trouble| watch.events(&format!("larder.{trouble}")).len()).collect();
    cache.shutdown().await.unwrap();
    drop(cache);
    sleep(Duration::from_millis(100)).await;
    let troubles_after: Vec<_> =
        troubles.iter().map(|trouble| watch.events(&format!("larder.{trouble}")).len()).collect();
    assert_eq!(troubles_after, troubles_before);
}

#[tokio::test]
async fn messages_that_do_not_arrive() {
    let watch = Watch::default();
    let _here = watch.here();
    let server = server();
    let proxy = Proxy::before(server.port());
    let cache = patient("deaf", proxy.port()).build().unwrap();
    item(cache.clone(), id(0)).await;
    eventually("messages are heard", async || {
        cache.stats().redis.backplane_age.is_some_and(|age| age < Duration::from_secs(1))
    })
    .await;
    proxy.set_for(Kind::Backplane, Mode::BlackHole);
    eventually("it is broken", async || !watch.events("larder.backplane.broken").is_empty()).await;
    assert!(watch.events("larder.backplane.heard").is_empty());
    proxy.set_for(Kind::Backplane, Mode::Pass);
    eventually("it is heard again", async || !watch.events("larder.backplane.heard").is_empty())
        .await;
    assert!(watch.events("larder.breaker.opened").is_empty(), "commands had their answers");
}

#[cached(ttl = 600, key = "raced:{id}", local = false, cache = cache, skip(cache, other))]
async fn raced(cache: Cache, other: Cache, id: String) {
    other.invalidate(&format!("raced:{id}")).await.unwrap();
}

#[tokio::test]
async fn what_another_process_has_changed_is_not_stored() {
    let watch = Watch::default();
    let _here = watch.here();
    let server = server();
    let (cache, other) = (
        patient("raced", server.port()).build().unwrap(),
        patient("raced", server.port()).build().unwrap(),
    );
    raced(cache, other, id(1)).await;
    let event = watch.event("larder.fill.refused");
    assert_eq!(event.fields["function"], "tracing::redis::raced");
    assert_eq!(watch.name_of(event.within), Some("larder.call"));
}

#[tokio::test]
async fn a_lock_that_is_forgotten_and_one_that_is_given_back() {
    let watch = Watch::default();
    let _here = watch.here();
    let server = RedisServer::start();
    let url = server.url();
    let patience = Duration::from_secs(10);
    let cache = Cache::builder("locks").redis(url).redis_budget(patience).build().unwrap();
    let (lock, place) = (Lock::new(&cache, TELLING), concat!(file!(), ":", line!()));
    let lock = lock.lease(Duration::from_secs(9));
    lock.acquire(HOUR).await.unwrap().release().await.unwrap();
    drop(lock.acquire(HOUR).await.unwrap());
    let forgotten = lock.acquire(HOUR).await.unwrap();
    assert!(watch.events("larder.lock.lost").is_empty());
    server.command(&["FLUSHALL"]);
    assert!(matches!(forgotten.release().await, Err(LockError::Lost)));
    let event = watch.event("larder.lock.lost");
    assert_eq!(event.fields["lock"], place);
    assert_eq!((event.level, event.target), (Level::WARN, "larder::lock"));
}

#[tokio::test]
async fn a_limit_of_the_fleet() {
    let watch = Watch::default();
    let _here = watch.here();
    let server = server();
    let cache = patient("limits", server.port()).build().unwrap();
    let limiter = Limiter::new(&cache, "by_redis", 1, HOUR);
    limiter.check(TELLING).await.unwrap();
    limiter.check(TELLING).await.unwrap_err();
    // It is remembered.
    limiter.check(TELLING).await.unwrap_err();
    let events = watch.events("larder.limit.denied");
    let by: Vec<_> = events.iter().map(|event| event.fields["by"].as_str()).collect();
    assert_eq!(by, ["redis", "memory"]);
}
