//! A guard above a batch: as above a call.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{Batch, Elements};
use crate::{
    call::{
        Call, Made, Source,
        guard::{Below, Guarded},
    },
    local::{Kept, Mode},
};

type Sources = Vec<Option<Source>>;

impl<F: Future> Batch<F> {
    /// Puts a guard above: what awaits the batch runs what it makes, and that the batch.
    #[doc(hidden)]
    pub fn guarded<G, W>(self, guard: G) -> Batch<Guarded<Self, G, W, Sources>>
    where
        G: FnOnce(Below<Self, Sources>) -> W,
        W: Future<Output = F::Output>,
    {
        Batch { run: Guarded::new(self, guard), open: |run| run }
    }
}

impl<F: Future> Future for Below<Batch<F>, Sources> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let output = ready!(self.call.as_mut().poll(cx));
        let sources = self.call.as_mut().elements().sources();
        // It is ready once.
        let _ = self.source.set(sources);
        Poll::Ready(output)
    }
}

/// Of a batch that is awaited, it knows where the values came from.
impl<F, G, W> Elements<F::Output> for Guarded<Batch<F>, G, W, Sources>
where
    F: Future,
    G: FnOnce(Below<Batch<F>, Sources>) -> W,
    W: Future<Output = F::Output>,
{
    fn calls(self: Pin<&mut Self>) -> &[Call] {
        self.call().map_or(&[], |batch| batch.elements().calls())
    }

    fn set_mode(self: Pin<&mut Self>, mode: Option<Mode>) {
        if let Some(batch) = self.call() {
            batch.elements().set_mode(mode);
        }
    }

    fn found(self: Pin<&mut Self>, found: Vec<Option<Kept>>) -> F::Output {
        match self.call() {
            Some(batch) => batch.elements().found(found),
            // The verbs take a batch that is not awaited.
            None => unreachable!(),
        }
    }

    fn made(self: Pin<&mut Self>, output: F::Output) -> Vec<Option<Made>> {
        self.call().map_or_else(Vec::new, |batch| batch.elements().made(output))
    }

    fn note_sources(self: Pin<&mut Self>) {
        if let Some(batch) = self.call() {
            batch.elements().note_sources();
        }
    }

    fn sources(self: Pin<&mut Self>) -> Sources {
        self.source().cloned().unwrap_or_default()
    }
}
