//! The service over HTTP: the shop in JSON, `/metrics`, and a page that shows the cache.

mod error;
mod live;
mod policies;
mod routes;
mod text;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post, put},
};
use larder::Cache;
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::task::TaskTracker;

use self::error::AppError;
use crate::{
    config::{Backends, Options, OwnRedis, Tiers},
    load::Mix,
    shop::Shop,
};

/// What all requests share.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    shop: Shop,
    cache: Cache,
    metrics: PrometheusHandle,
    address: SocketAddr,
    database: &'static str,
    tiers: Tiers,
    products: u32,
    /// Of what its page sends to it.
    mix: Arc<Mix>,
    redis: Option<OwnRedis>,
    writes: TaskTracker,
    requests: AtomicU64,
    began: Instant,
}

impl App {
    pub(crate) fn new(
        shop: Shop,
        cache: Cache,
        metrics: PrometheusHandle,
        address: SocketAddr,
        backends: &Backends,
        options: &Options,
    ) -> Self {
        let is_sqlite = backends.database_url.starts_with("sqlite");
        Self(Arc::new(Inner {
            shop,
            cache,
            metrics,
            address,
            database: if is_sqlite { "SQLite" } else { "PostgreSQL" },
            tiers: options.cache.unwrap_or(backends.default_tiers()),
            products: options.products,
            mix: Arc::new(Mix::new(options.products, fastrand::u64(..))),
            redis: backends.own_redis(),
            writes: TaskTracker::new(),
            requests: AtomicU64::new(0),
            began: Instant::now(),
        }))
    }

    /// Goes on to the end, also if the client hangs up: a transaction that is dropped leaves nobody who knows whether
    /// it was committed.
    async fn write<T, E>(
        &self,
        write: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, AppError>
    where
        T: Send + 'static,
        E: Into<AppError> + Send + 'static,
    {
        match self.0.writes.spawn(write).await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(error) => Err(AppError::Lost(error)),
        }
    }

    /// Waits for the writes under way. The service takes no more.
    pub(crate) async fn finish(&self) {
        self.0.writes.close();
        self.0.writes.wait().await;
    }
}

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/categories", get(routes::categories))
        .route("/categories/{category}/products", get(routes::page).post(routes::add_product))
        .route("/products/{product}", get(routes::product).put(routes::rename_product))
        .route("/products/{product}/price", put(routes::set_price))
        .route("/products/{product}/stock", get(routes::stock))
        .route("/search", get(routes::search))
        .route("/login", post(routes::log_in))
        .route("/customers/{customer}", get(routes::customer).put(routes::rename_customer))
        .route("/customers/{customer}/orders", get(routes::orders).post(routes::check_out))
        .layer(from_fn_with_state(app.clone(), count))
        .route("/metrics", get(async |State(app): State<App>| app.0.metrics.render()))
        .merge(live::routes())
        .with_state(app)
}

async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    app.0.requests.fetch_add(1, Relaxed);
    counter!("storefront_requests_total").increment(1);
    next.run(request).await
}
