//! What OpenTelemetry makes of the spans: the layer of `tracing-opentelemetry`, which is what is needed, and
//! an exporter that prints them.

use std::time::Duration;

use larder::{Cache, Source};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_stdout::SpanExporter;
use tokio::time::sleep;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::service;

/// A request whose call runs the function, one that has the value from memory, one that changes it, and one that gets
/// an old value while somebody refreshes it.
///
/// In the span of the request is `larder.call`, where memory did not answer, and in that the query. The refresh is
/// `larder.run`, beside the call and linked to it: it ends when the request is long over.
pub(crate) async fn show() -> anyhow::Result<()> {
    let exporter = SpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("observe"));
    // The spans of larder are at this level.
    tracing_subscriber::registry().with(EnvFilter::new("debug")).with(layer).init();
    first().await;
    second().await;
    change().await;
    outdated().await;
    Cache::current().shutdown().await?;
    provider.shutdown()?;
    Ok(())
}

#[tracing::instrument]
async fn first() {
    let _ = service::user(42).await;
}

#[tracing::instrument]
async fn second() {
    let _ = service::user(42).await;
}

#[tracing::instrument]
async fn change() {
    let _ = service::rename(42).await;
}

#[tracing::instrument]
async fn outdated() {
    while !matches!(service::price(7).with_source().await, (_, Source::Stale { .. })) {
        sleep(Duration::from_millis(200)).await;
    }
}
