//! One element of a batch: a call whose body waits for the run that all of them share.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::super::{
    Call, Source,
    body::{Behind, Leave, Opened, Run},
    denial,
    engine::{Missed, Why},
    policy::{AnyKnobs, Policy, Rules},
    shape::Shape,
    share::ShareError,
};
use crate::{
    cache::Running,
    local::SharedError,
    sync::{Mutex, lock},
};

/// The error of a run, which the batch returns once its elements have ended with it.
#[doc(hidden)]
pub struct Failed<E>(Arc<Mutex<Option<E>>>);

impl<E> Failed<E> {
    pub(super) fn of(error: E) -> Self {
        Self(Arc::new(Mutex::new(Some(error))))
    }

    /// The error, once.
    pub(super) fn take(&self) -> Option<E> {
        lock(&self.0).take()
    }
}

impl<E> Clone for Failed<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failed")
    }
}

/// How the error inside is shared.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct Inside<H>(pub(super) H);

impl<E, H: ShareError<E>> ShareError<Failed<E>> for Inside<H> {
    fn share(&self, Failed(error): &Failed<E>, followers: usize) -> Option<SharedError> {
        self.0.share(lock(error).as_ref()?, followers)
    }

    fn copy(shared: &SharedError) -> Option<Failed<E>> {
        H::copy(shared).map(Failed::of)
    }
}

/// What the elements of a batch share.
pub(super) struct Shared<V, E>(Mutex<State<V, E>>);

struct State<V, E> {
    /// The elements that need the run, and wait for it.
    wanted: BTreeSet<usize>,
    ran: Option<Ran<V, E>>,
    /// What goes on without the caller.
    left: Vec<Left>,
    permit: Option<Running>,
    /// The run is for a flight, and not for one of those alone that run without the cache.
    is_counted: bool,
    /// Of a value that two go on with.
    clone: fn(&V) -> V,
}

/// An element that goes on without the caller of the batch.
pub(super) struct Left {
    pub(super) at: usize,
    /// In the remote tier, if there is one.
    pub(super) key: String,
    pub(super) future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// How the run has ended.
pub(super) enum Ran<V, E> {
    /// With the values of these elements.
    Values(HashMap<usize, V>),
    Error {
        error: Failed<E>,
        /// A guard has denied something inside.
        is_denied: bool,
    },
    Panicked,
}

impl<V, E> Shared<V, E> {
    pub(super) fn new() -> Arc<Self>
    where
        V: Clone,
    {
        Arc::new(Self(Mutex::new(State {
            wanted: BTreeSet::new(),
            ran: None,
            left: Vec::new(),
            permit: None,
            is_counted: false,
            clone: V::clone,
        })))
    }

    pub(super) fn wanted(&self) -> BTreeSet<usize> {
        lock(&self.0).wanted.clone()
    }

    /// Those of these elements that do not wait for the run, by their keys.
    pub(super) fn unwanted<'a>(
        &self,
        elements: impl Iterator<Item = (usize, &'a str)>,
    ) -> BTreeSet<&'a str> {
        let state = lock(&self.0);
        elements.filter(|(at, _)| !state.wanted.contains(at)).map(|(_, key)| key).collect()
    }

    pub(super) fn count_wanted(&self) -> usize {
        lock(&self.0).wanted.len()
    }

    pub(super) fn ran(&self, ran: Ran<V, E>) {
        lock(&self.0).ran = Some(ran);
    }

    pub(super) fn is_counted(&self) -> bool {
        lock(&self.0).is_counted
    }

    pub(super) fn take_permit(&self) -> Option<Running> {
        lock(&self.0).permit.take()
    }

    pub(super) fn take_left(&self) -> Vec<Left> {
        std::mem::take(&mut lock(&self.0).left)
    }
}

/// The body of an element.
pub(super) struct Element<K, V, E> {
    knobs: K,
    part: Part<V, E>,
    aside: Option<Result<Option<V>, Failed<E>>>,
}

/// What it waits for.
pub(super) struct Part<V, E> {
    at: usize,
    shared: Arc<Shared<V, E>>,
    waits: bool,
    /// Another goes on in its place, and has the value too.
    has_left: bool,
    /// How it goes on without its caller, if it may.
    leave: Option<LeaveAs<V, E>>,
}

pub(super) type LeaveAs<V, E> = fn(&AnyKnobs, Part<V, E>, Call, Missed, Running) -> Left;

impl<K, V, E> Element<K, V, E> {
    pub(super) fn new(
        knobs: K,
        at: usize,
        shared: &Arc<Shared<V, E>>,
        leave: Option<LeaveAs<V, E>>,
    ) -> Self {
        Self {
            knobs,
            part: Part { at, shared: Arc::clone(shared), waits: false, has_left: false, leave },
            aside: None,
        }
    }

    /// One that goes on without the caller of the batch.
    pub(super) fn of_part(knobs: K, part: Part<V, E>) -> Self {
        Self { knobs, part, aside: None }
    }

    pub(super) fn open<S>(self: Pin<&mut Self>) -> Behind<'_, S::Output>
    where
        S: Shape<Output = Result<Option<V>, Failed<E>>>,
        K: Rules<S>,
    {
        let Self { knobs, part, aside } = self.get_mut();
        let policy = Policy::of::<S, K>(knobs);
        Behind::Body(Opened { run: Run::Anywhere(part), policy, aside: Some(aside) })
    }
}

// Nothing of it is pinned.
impl<K, V, E> Unpin for Element<K, V, E> {}

impl<K, V, E> Future for Element<K, V, E> {
    type Output = Result<Option<V>, Failed<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.part).poll(cx)
    }
}

impl<V, E> Part<V, E> {
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl<V, E> Unpin for Part<V, E> {}

impl<V, E> Part<V, E> {
    /// For who goes on in its place.
    fn other(&self) -> Self {
        Self {
            at: self.at,
            shared: Arc::clone(&self.shared),
            waits: false,
            has_left: true,
            leave: None,
        }
    }
}

impl<V, E> Future for Part<V, E> {
    type Output = Result<Option<V>, Failed<E>>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { at, shared, waits, has_left, .. } = &mut *self;
        let mut state = lock(&shared.0);
        let State { wanted, ran, clone, .. } = &mut *state;
        let output = match ran {
            None => {
                // Whoever drives the batch polls it again once it has run.
                *waits = true;
                wanted.insert(*at);
                return Poll::Pending;
            }
            Some(Ran::Values(values)) if *has_left => Ok(values.get(at).map(*clone)),
            Some(Ran::Values(values)) => Ok(values.remove(at)),
            Some(Ran::Error { error, is_denied }) => {
                if *is_denied {
                    denial::note();
                }
                Err(error.clone())
            }
            Some(Ran::Panicked) => {
                drop(state);
                std::panic::resume_unwind(Box::new(BatchPanicked))
            }
        };
        *waits = false;
        wanted.remove(at);
        Poll::Ready(output)
    }
}

impl<V, E> Drop for Part<V, E> {
    fn drop(&mut self) {
        if self.waits {
            lock(&self.shared.0).wanted.remove(&self.at);
        }
    }
}

/// In the place of the panic of the run, which the batch goes on with.
pub(super) struct BatchPanicked;

impl<V, E> Leave<Result<Option<V>, Failed<E>>> for Part<V, E> {
    fn permit(&mut self, call: &Call, why: Why) -> Option<Running> {
        if self.leave.is_none() || why == Why::Run {
            return None;
        }
        // One for all, for they share one run.
        let mut state = lock(&self.shared.0);
        if state.permit.is_none() {
            state.permit = call.cache().background.track_refresh();
        }
        state.permit.clone()
    }

    fn leave(&mut self, knobs: &AnyKnobs, call: &Call, missed: Missed, running: Running) {
        if let Some(leave) = self.leave.take() {
            self.has_left = true;
            let left = leave(knobs, self.other(), call.clone(), missed, running);
            lock(&self.shared.0).left.push(left);
        }
    }

    fn has_left(&self) -> bool {
        self.has_left
    }

    fn counts_itself(&mut self) -> bool {
        lock(&self.shared.0).is_counted = true;
        true
    }

    fn source(&self) -> Source {
        Source::Function
    }
}
