//! The guard that an attribute puts around a function, by what the attribute emits for it.

use larder::__private::{KeyBytes, LimitSite, limit, limit_on};

use super::*;

fn key(parts: &[&str]) -> KeyBytes {
    let mut key = KeyBytes::new();
    for part in parts {
        key.writer().part(part);
    }
    key
}

static LOGIN: LimitSite = LimitSite::new().key("login:{}").per(3_600_000);

#[tokio::test]
async fn a_template_counts_for_each_of_its_keys() {
    let cache = Cache::memory();
    let admit =
        |ip: &str| limit_on(&cache, &LOGIN, "app::login::{{closure}}", key(&[ip]), 2, 1).admit();
    for ip in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(admit(ip).await.unwrap().remaining, 1);
        assert_eq!(admit(ip).await.unwrap().remaining, 0);
        assert!(admit(ip).await.is_err());
    }
}

#[tokio::test]
async fn functions_of_one_template_count_together() {
    static OTHER: LimitSite = LimitSite::new().key("login:{}").per(3_600_000);
    for is_in_fleet in [false, true] {
        let cache = if is_in_fleet { in_fleet().2 } else { virtual_memory() };
        let admit = |site, path| limit_on(&cache, site, path, key(&["a"]), 2, 1).admit();
        assert!(admit(&LOGIN, "app::login::{{closure}}").await.is_ok());
        assert!(admit(&OTHER, "app::other::{{closure}}").await.is_ok());
        assert!(admit(&LOGIN, "app::login::{{closure}}").await.is_err());
        // And so does a limiter that is called as the template begins.
        let limiter = Limiter::new(&cache, "login", 2, HOUR);
        assert!(limiter.check("a").await.is_err());
        limiter.reset("a").await;
        assert!(admit(&OTHER, "app::other::{{closure}}").await.is_ok());
    }
}

#[tokio::test]
async fn without_a_template_a_function_has_one_limit() {
    static SITE: LimitSite = LimitSite::new().per(3_600_000);
    for is_in_fleet in [false, true] {
        let (server, _process, fleet) = in_fleet();
        let cache = if is_in_fleet { fleet } else { virtual_memory() };
        let admit = |path| limit_on(&cache, &SITE, path, KeyBytes::new(), 2, 1).admit();
        for path in [
            "app::send::{{closure}}",
            "app::Repo<u8>::send::{{closure}}",
            "app::{impl#1}::f::{{closure}}",
        ] {
            assert!(admit(path).await.is_ok() && admit(path).await.is_ok());
            assert!(admit(path).await.is_err());
        }
        if is_in_fleet {
            let keys = server.keys_of("a LIMIT").concat();
            assert_eq!(keys[0], ":limit:test:gcra:3600000000:app::send");
            assert_eq!(keys[6], ":limit:test:gcra:3600000000:app::%7Bimpl#1%7D::f");
        }
    }
}

#[tokio::test]
async fn the_limit_and_the_cost_are_those_of_the_call() {
    let cache = Cache::memory();
    let admit = |limit, cost| {
        limit_on(&cache, &LOGIN, "app::login::{{closure}}", key(&["a"]), limit, cost).admit()
    };
    assert_eq!(admit(10, 3).await.unwrap().remaining, 7);
    assert_eq!(admit(20, 1).await.unwrap().limit, 20);
    assert_eq!(admit(10, 11).await.unwrap_err().retry_after, Duration::MAX);
}

#[tokio::test]
async fn what_the_site_says_holds() {
    static SITE: LimitSite = LimitSite::new()
        .key("send:{}:{}")
        .per(60_000)
        .burst(1)
        .algorithm(Algorithm::Gcra)
        .when_down(WhenDown::Deny);
    let (server, process, cache) = in_fleet();
    let admit =
        || limit_on(&cache, &SITE, "app::send::{{closure}}", key(&["a", "b"]), 60, 1).admit();
    assert!(admit().await.is_ok());
    assert!(retry(admit().await) <= SECOND);
    assert_eq!(server.keys_of("a LIMIT").concat()[0], ":limit:test:gcra:60000000:send:a:b");
    process.cut_off();
    let denied =
        limit_on(&cache, &SITE, "app::send::{{closure}}", key(&["a", "c"]), 60, 1).admit().await;
    assert_eq!(retry(denied), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_site_that_waits_waits() {
    static SITE: LimitSite = LimitSite::new().key("mail").per(60_000).burst(1).wait(1_500);
    let cache = virtual_memory();
    let admit =
        || limit_on(&cache, &SITE, "app::mail::{{closure}}", KeyBytes::new(), 60, 1).admit();
    let began = tokio::time::Instant::now();
    assert!(admit().await.is_ok() && admit().await.is_ok());
    assert!(began.elapsed() >= SECOND);
}

#[tokio::test]
async fn the_guard_is_of_the_cache_that_is_current_when_it_is_made() {
    let cache = Cache::memory();
    let guard = cache
        .scope(async { limit(&LOGIN, "app::login::{{closure}}", key(&["scoped"]), 1, 1) })
        .await;
    let admitted = tokio::spawn(guard.admit()).await.unwrap();
    assert!(admitted.is_ok());
    assert!(Limiter::new(&cache, "login", 1, HOUR).check("scoped").await.is_err());
}
