//! What `--servers` starts, and what the page does to it.

use hyper::Method;
use serde_json::json;
use tokio::task::block_in_place;

use crate::common::{Service, wait_until};

const BLOWS: [&str; 3] = ["stop", "kill", "hang"];

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_redis_is_stopped_or_killed_or_hangs() {
    let mut service = start();
    for blow in BLOWS {
        deal(&service, blow).await;
        none_fails(&service, blow).await;
        deal(&service, "start").await;
        none_fails(&service, "start").await;
        wait_until("Redis is used again", async || {
            service.read("/live").await["redis"]["breaker_is_open"] == false
        })
        .await;
    }
    ends_with_all_that_it_has_started(&mut service);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_also_while_its_redis_is_away() {
    for blow in BLOWS {
        let mut service = start();
        deal(&service, blow).await;
        // What these change cannot be invalidated in Redis.
        none_fails(&service, blow).await;
        ends_with_all_that_it_has_started(&mut service);
    }
}

fn start() -> Service {
    let options = ["--port", "0", "--products", "500", "--servers"];
    block_in_place(|| Service::start(&options, "", ""))
}

async fn deal(service: &Service, blow: &str) {
    let answer = service.ask(Method::POST, "/live/redis", Some(json!(blow))).await;
    let is_running = matches!(blow, "hang" | "start");
    assert_eq!(answer.json().unwrap()["is_running"], is_running, "{blow}");
}

async fn none_fails(service: &Service, after: &str) {
    let sent = service.ask(Method::POST, "/live/requests", Some(json!({ "count": 300 }))).await;
    let visit = sent.json().unwrap();
    assert_eq!((&visit["requests"], &visit["failed"]), (&json!(300), &json!(0)), "after {after}");
}

fn ends_with_all_that_it_has_started(service: &mut Service) {
    let socket = service.redis_url.trim_start_matches("unix://").to_owned();
    let (_, folder) = service.database_url.split_once("host=").unwrap();
    let folder = folder.to_owned();
    assert!(std::fs::exists(&folder).unwrap());
    service.terminate();
    let (status, said) = block_in_place(|| service.ended());
    assert_eq!((status.code(), &said[..]), (Some(0), &["ended".to_owned()][..]));
    assert!(!std::fs::exists(&socket).unwrap() && !std::fs::exists(&folder).unwrap());
}
