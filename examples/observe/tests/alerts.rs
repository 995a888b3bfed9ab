//! Each alert fires at what causes it, and resolves after: a real Prometheus scrapes the example, by the
//! alerts of `dashboards/` with seconds for their minutes. And the dashboard's queries find what they ask for.

#[path = "../../../tests/common/redis.rs"]
mod redis;
mod watched;

use redis::RedisServer;
use serde_json::Value;
use watched::Watched;

/// Those that a Redis that is away lets fire.
const OF_REDIS: [&str; 3] = ["LarderBreakerOpen", "LarderBackplaneSilent", "LarderRepairsPending"];

#[test]
fn a_cache_that_is_cleared_all_the_time() {
    typed("clear", "LarderHitRateCollapsed");
}

#[test]
fn invalidations_that_race_with_fills() {
    typed("race", "LarderFillsRefusedSurge");
}

#[test]
fn a_database_that_hangs() {
    typed("hang", "LarderWaitersPilingUp");
}

#[test]
fn a_redis_that_hangs() {
    away(|server| server.hang(), |server| server.resume());
}

#[test]
fn a_redis_that_is_killed() {
    away(RedisServer::kill, RedisServer::restart);
}

#[test]
fn every_query_of_the_dashboard_finds_something() {
    let server = RedisServer::start();
    let watched = Watched::start(Some(&server.url()));
    let dashboard = include_str!("../../../dashboards/grafana.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    for target in panels.filter_map(|panel| panel["targets"].as_array()).flatten() {
        // What is shown where it is more than nothing is nothing here.
        let mut query = target["expr"].as_str().unwrap().replace(" > 0", "");
        query = query.replace("$__rate_interval", "5s");
        for variable in ["job", "instance", "function", "service", "limit", "lock"] {
            query = query.replace(&format!("\"${variable}\""), "\".*\"");
        }
        watched.wait_for_data(&query);
    }
}

/// What is typed lets the alert fire, and that it is over lets it resolve.
fn typed(trouble: &str, alert: &str) {
    let mut watched = Watched::start(None);
    watched.wait_until_silent(alert);
    watched.example.type_in(trouble);
    watched.wait_until_firing(alert);
    watched.example.type_in("calm");
    watched.wait_until_silent(alert);
}

/// While Redis is away all that are of it fire.
fn away(goes: impl Fn(&mut RedisServer), is_back: impl Fn(&mut RedisServer)) {
    let mut server = RedisServer::start();
    let watched = Watched::start(Some(&server.url()));
    for alert in OF_REDIS {
        watched.wait_until_silent(alert);
    }
    goes(&mut server);
    for alert in OF_REDIS {
        watched.wait_until_firing(alert);
    }
    is_back(&mut server);
    for alert in OF_REDIS {
        watched.wait_until_silent(alert);
    }
}
