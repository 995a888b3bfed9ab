//! A function that loads many: each element is a call by itself, with its own entry, flight and lease, and
//! all that have to run share one run of the function.

mod build;
mod counted;
mod element;
mod guard;
mod run;
mod shape;

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

pub use build::{BatchBuilder, batch, batch_on, unexpanded_batch};
pub use shape::{EachOf, EachShape};

use super::{Call, Made, Source};
use crate::{
    change::{self, Write},
    error::Error,
    local::{Kept, Mode},
};

pin_project! {
    /// A call of a cached function that loads many (`each(id in ids)`): a future of the function's output,
    /// and the handle of the entries of all its elements.
    ///
    /// Awaiting it is the cached call. What memory has is taken from there, what Redis has comes with one
    /// `MGET`, and the function runs once at most, for the rest. An element is loaded once, whoever else
    /// asks for it at that moment, also by a function of the same key for a single one: so a run may have
    /// to wait for another's. Where two would wait for each other, an element is loaded twice and not
    /// stored.
    ///
    /// An `Err` fails the call. An element that the function returns no value for is a `None`, and is stored
    /// only with `none_ttl`.
    #[must_use = "a cached call does nothing unless awaited"]
    pub struct Batch<F: Future> {
        #[pin]
        run: F,
        open: Open<F>,
    }
}

/// How the verbs reach what the run is made of.
type Open<F> =
    for<'a> fn(Pin<&'a mut F>) -> Pin<&'a mut (dyn Elements<<F as Future>::Output> + 'a)>;

/// What is behind the verbs.
trait Elements<R> {
    /// One of each element.
    fn calls(self: Pin<&mut Self>) -> &[Call];

    /// What each call wants; `None` to run the function without a flight.
    fn set_mode(self: Pin<&mut Self>, mode: Option<Mode>);

    /// The output of what was found of each element.
    fn found(self: Pin<&mut Self>, found: Vec<Option<Kept>>) -> R;

    /// What is to be stored of an output for each element.
    fn made(self: Pin<&mut Self>, output: R) -> Vec<Option<Made>>;

    /// From now on it is noted where the values come from.
    fn note_sources(self: Pin<&mut Self>);

    /// Where the value of each element came from; empty where a guard has denied the batch.
    fn sources(self: Pin<&mut Self>) -> Vec<Option<Source>>;
}

impl<F: Future> Batch<F> {
    /// The keys of the elements, each once and in their order, without the service: what
    /// [`Cache::invalidate`](crate::Cache::invalidate) takes.
    pub fn keys(self) -> Vec<String> {
        self.with_elements(|elements| {
            elements.calls().iter().map(|call| call.text().to_text()).collect()
        })
    }

    /// What is stored, without running the function. An element of which nothing is stored is not in it.
    pub async fn peek(self) -> F::Output {
        let mut this = Box::pin(self);
        let calls: Vec<Call> = this.as_mut().elements().calls().to_vec();
        let found = run::find_all(calls).await;
        this.as_mut().elements().found(found)
    }

    /// Runs the function now, for all elements, and stores what it returns. Never joins a run that began
    /// earlier, and such a run stores nothing any more; the old values are served meanwhile.
    pub fn refresh(self) -> impl Future<Output = F::Output> {
        self.in_mode(Some(Mode::Refresh))
    }

    /// Runs the function for all elements; neither reads nor stores.
    pub fn uncached(self) -> impl Future<Output = F::Output> {
        self.in_mode(None)
    }

    /// Removes the entries of all elements, with one round trip. Once this has returned `Ok`, no call
    /// returns a value from before.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: what did not land in time, or was refused. Then this process does not
    /// serve those keys any more, and repeats the invalidation until it has landed.
    pub async fn invalidate(self) -> Result<(), Error> {
        change::land(self.writes()).await
    }

    pub(super) fn writes(self) -> Vec<Write> {
        self.with_elements(|elements| elements.calls().iter().map(Write::of).collect())
    }

    /// Stores the values of an output as if the function had returned it: of each element that it has.
    /// What the function would not store (also an element that is not in it, without `none_ttl`) is removed.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: as [`Cached::put`](crate::Cached::put), of all elements together.
    pub async fn put(self, output: F::Output) -> Result<(), Error> {
        let (mut writes, made) = self.with_elements(|mut elements| {
            let writes: Vec<_> = elements.as_mut().calls().iter().map(Write::of_put).collect();
            (writes, elements.made(output))
        });
        let held = change::hold(&mut writes, None).await;
        for (write, made) in writes.iter_mut().zip(made) {
            if let Some(made) = made {
                write.put(made);
            }
        }
        let landed = change::land(writes).await;
        held.and(landed)
    }

    /// The output, and where the value of each element came from, in the order of [`keys`](Self::keys).
    pub async fn with_sources(self) -> (F::Output, Vec<Source>) {
        let mut this = Box::pin(self);
        this.as_mut().elements().note_sources();
        let count = this.as_mut().elements().calls().len();
        let output = this.as_mut().await;
        let sources = this.as_mut().elements().sources();
        if sources.is_empty() {
            return (output, vec![Source::Denied; count]);
        }
        (output, sources.into_iter().map(|source| source.unwrap_or(Source::Function)).collect())
    }

    fn elements(self: Pin<&mut Self>) -> Pin<&mut dyn Elements<F::Output>> {
        let this = self.project();
        (this.open)(this.run)
    }

    fn with_elements<T>(self, with: impl FnOnce(Pin<&mut dyn Elements<F::Output>>) -> T) -> T {
        let mut this = pin!(self);
        with(this.as_mut().elements())
    }

    async fn in_mode(self, mode: Option<Mode>) -> F::Output {
        let mut this = pin!(self);
        this.as_mut().elements().set_mode(mode);
        this.await
    }
}

impl<F: Future> Future for Batch<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().run.poll(cx)
    }
}

impl<F: Future> fmt::Debug for Batch<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}
