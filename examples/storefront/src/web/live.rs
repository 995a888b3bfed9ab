//! A page that shows what the cache does, and what it asks for.

use std::sync::atomic::Ordering::Relaxed;

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{App, error::AppError, policies::POLICIES};
use crate::load::{Visit, visit};

pub(super) fn routes() -> Router<App> {
    let file = |kind: &'static str, text: &'static str| {
        get(async move || ([(CONTENT_TYPE, kind)], text).into_response())
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/live/page.css", file("text/css", include_str!("page/page.css")))
        .route("/live/page.js", file("text/javascript", include_str!("page/page.js")))
        .route("/live", get(state))
        .route("/live/invalidate", post(invalidate))
        .route("/live/redis", post(redis))
        .route("/live/requests", post(requests))
}

/// What has been counted since the beginning, and what is so now.
async fn state(State(app): State<App>) -> Json<Value> {
    let inner = &app.0;
    let stats = inner.cache.stats();
    let functions = POLICIES.iter().map(|policy| {
        let counted = policy.function.and_then(|function| stats.function(function));
        let counted = counted.map(|counted| {
            json!({
                "memory": counted.cache_hits_memory,
                "redis": counted.cache_hits_redis,
                "stale": counted.stale_served,
                "misses": counted.cache_misses,
                "runs": counted.runs,
                "background_runs": counted.background_runs,
                "running": counted.inflight_requests,
                "waiters": counted.waiters,
                "refused": counted.fills_refused,
                "errors": counted.errors,
                "run_ms": counted.run_time.as_secs_f64() * 1e3,
            })
        });
        json!({
            "name": policy.name,
            "is_cached": policy.function.is_some(),
            "policy": policy.how,
            "why": policy.why,
            "counted": counted,
        })
    });
    let (reads, writes) = inner.shop.db.counts();
    Json(json!({
        "now_ms": inner.began.elapsed().as_secs_f64() * 1e3,
        "database": inner.database,
        "cache": inner.tiers.name(),
        "products": inner.products,
        "requests": inner.requests.load(Relaxed),
        "queries": { "read": reads, "write": writes },
        "redis": {
            "is_ours": inner.redis.is_some(),
            "is_running": inner.redis.as_ref().map(|redis| redis.lock().is_running()),
            "connections": stats.redis.connections,
            "breaker_is_open": stats.redis.breaker_open,
            "backplane_age_ms": stats.redis.backplane_age.map(|age| age.as_secs_f64() * 1e3),
            "pending_repairs": stats.redis.pending_repairs,
            "commands": stats.redis.commands,
        },
        "functions": functions.collect::<Vec<_>>(),
        "limits": stats.limits.iter().map(|limit| json!({
            "name": limit.limit,
            "allowed": limit.allowed_redis + limit.allowed_memory,
            "denied": limit.denied_redis + limit.denied_memory,
        })).collect::<Vec<_>>(),
        "locks": stats.locks.iter().map(|lock| json!({
            "name": lock.lock,
            "acquired": lock.acquired,
            "timed_out": lock.timed_out,
            "unavailable": lock.unavailable,
            "waiters": lock.waiters,
        })).collect::<Vec<_>>(),
    }))
}

/// `{"key": "product:42"}`, `{"tag": "category:7"}`, or `"all"`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Key(String),
    Tag(String),
    All,
}

async fn invalidate(
    State(app): State<App>,
    Json(what): Json<What>,
) -> Result<Json<Value>, AppError> {
    let cache = &app.0.cache;
    let (did, outcome) = match what {
        What::Key(key) => (format!("invalidated {key}"), cache.invalidate(&key).await),
        What::Tag(tag) => (format!("invalidated the tag {tag}"), cache.invalidate_tag(&tag).await),
        What::All => ("cleared".to_owned(), cache.clear().await),
    };
    // What Redis did not take is repeated until it does.
    let note = outcome.err().map(|error| format!("here at once, in Redis later: {error}"));
    Ok(Json(json!({ "did": did, "note": note })))
}

/// What is done to the Redis that was started for this service.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Blow {
    /// As an operator does.
    Stop,
    /// By SIGKILL.
    Kill,
    /// It answers nobody, and closes no connection.
    Hang,
    /// Starts it again, with nothing in it, or wakes it.
    Start,
}

async fn redis(State(app): State<App>, Json(blow): Json<Blow>) -> Result<Json<Value>, AppError> {
    let redis = app.0.redis.clone();
    let redis =
        redis.context("the Redis was not started by this service, which leaves it alone")?;
    let is_running = spawn_blocking(move || {
        let mut redis = redis.lock();
        match blow {
            Blow::Stop => redis.stop(),
            Blow::Kill => redis.kill(),
            Blow::Hang => redis.hang(),
            Blow::Start => {
                redis.wake();
                redis.start_again()?;
            }
        }
        anyhow::Ok(redis.is_running())
    });
    let is_running = is_running.await.context("a panic")??;
    Ok(Json(json!({ "is_running": is_running })))
}

#[derive(Deserialize)]
struct Requests {
    count: u64,
}

/// Sends itself requests, as a shop gets them.
async fn requests(
    State(app): State<App>,
    Json(Requests { count }): Json<Requests>,
) -> Result<Json<Visit>, AppError> {
    Ok(Json(visit(app.0.address, &app.0.mix, count.min(100_000)).await?))
}
