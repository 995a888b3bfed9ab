//! What OpenTelemetry makes of the spans: the layer of `tracing-opentelemetry`, which is what is needed, and
//! an exporter that prints them.

use larder::Cache;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_stdout::SpanExporter;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::service;

/// A request that runs the function, one that has the value from memory, and one that changes it.
pub(crate) async fn show() -> anyhow::Result<()> {
    let exporter = SpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("observe"));
    // The spans of larder are at this level.
    tracing_subscriber::registry().with(EnvFilter::new("debug")).with(layer).init();
    first().await;
    second().await;
    change().await;
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
