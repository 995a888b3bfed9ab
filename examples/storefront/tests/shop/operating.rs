use hyper::StatusCode;
use serde_json::json;
use tokio::task::block_in_place;

use crate::common::{Service, Shop, command, on_all_backends, wait_until};

on_all_backends!(
    metrics_have_each_function_and_how_many_queries_were_made,
    the_page_can_send_it_requests,
    a_redis_that_it_has_not_started_is_left_alone,
);

async fn metrics_have_each_function_and_how_many_queries_were_made(shop: &mut Shop) {
    for path in ["/categories", "/search?category=1&words=plastic"] {
        assert_eq!(shop.get(path).await.status, StatusCode::OK);
    }
    shop.put("/products/1/price", json!({ "cents": 1 })).await;
    let metrics = async || String::from_utf8(shop.get("/metrics").await.body.to_vec()).unwrap();
    // A cache publishes once a second; and with a Redis memory is used when it is sure to hear what is invalidated.
    wait_until("the metrics have a hit", async || {
        shop.get("/products/1").await;
        has(&metrics().await, "larder_cache_hits_total", &["Products::find\"", "tier=\"memory\""])
    })
    .await;
    let metrics = metrics().await;
    for function in ["Products::find", "Prices::find", "Categories::all", "Search::find"] {
        let function = format!("{function}\"");
        assert!(has(&metrics, "larder_cache_runs_total", &[&function]), "{function} {metrics}");
        assert!(has(&metrics, "larder_cache_run_seconds_bucket", &[&function]), "{function}");
    }
    let queries = shop.service.queries().await;
    for (kind, count) in [("read", queries.read), ("write", queries.write)] {
        let line = format!("storefront_queries_total{{kind=\"{kind}\"}} {count}");
        assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    }
    let requests = format!("storefront_requests_total {}", shop.read("/live").await["requests"]);
    assert!(metrics.lines().any(|line| line == requests), "{requests} in {metrics}");
    assert_eq!(has(&metrics, "larder_redis_commands_total", &[]), shop.is_on_postgres());
}

fn has(metrics: &str, name: &str, labels: &[&str]) -> bool {
    metrics.lines().any(|line| {
        line.starts_with(name)
            && labels.iter().all(|label| line.contains(label))
            && !line.ends_with(" 0")
    })
}

async fn the_page_can_send_it_requests(shop: &mut Shop) {
    let answer = shop.post("/live/requests", json!({ "count": 500 })).await;
    let visit = answer.json().unwrap();
    assert_eq!((&visit["requests"], &visit["failed"]), (&json!(500), &json!(0)));
    let live = shop.read("/live").await;
    assert_eq!(live["requests"], 500);
    let made = live["queries"]["read"].as_i64().unwrap();
    assert!((1..1_500).contains(&made), "{made}");
}

async fn a_redis_that_it_has_not_started_is_left_alone(shop: &mut Shop) {
    for blow in ["stop", "kill", "hang", "start"] {
        let answer = shop.post("/live/redis", json!(blow)).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{blow}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_server_it_makes_itself_a_database_that_goes_with_it() {
    let options = ["--port", "0", "--products", "100"];
    let mut service = block_in_place(|| Service::start(&options, "", ""));
    assert_eq!(service.read("/products/100").await["product"]["id"], 100);
    assert_eq!(service.redis_url, "");
    let file =
        service.database_url.trim_start_matches("sqlite://").split('?').next().unwrap().to_owned();
    assert!(std::fs::exists(&file).unwrap(), "{file}");
    service.terminate();
    let (status, _) = block_in_place(|| service.ended());
    assert!(status.success());
    assert!(!std::fs::exists(&file).unwrap(), "{file}");
}

#[test]
fn options_that_are_none_are_told_of() {
    for (options, said) in [
        (vec!["--colour", "red"], "--colour? There are"),
        (vec!["--port"], "--port needs a value"),
        (vec!["--port", "x"], "--port needs a number"),
        (vec!["--products", "5"], "100 to 1,000,000 products"),
        (vec!["--cache", "disk"], "cached in disk?"),
        (vec!["--cache", "both"], "there is no Redis"),
    ] {
        let output =
            command(&options, "", "").stderr(std::process::Stdio::piped()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{options:?}: {error}");
    }
}
