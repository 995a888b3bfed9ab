//! Who waits for whom. A run that calls a cached function may wait for the run of another call,
//! and that for a third; where such a wait would close a circle (`f(1)` calls `f(2)`, which
//! calls `f(1)`), nobody would ever be done, so the call runs its function instead.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::flight::Flight;

/// The flights that the run of each flight waits for. One graph for all caches: a run in one
/// may call a function in another. Only calls inside a run that miss come here.
static WAITS: Mutex<Graph> = Mutex::new(Graph(BTreeMap::new()));

struct Graph(BTreeMap<usize, Vec<usize>>);

/// What waits, and is waited for. Kept alive, so that its address names it.
#[derive(Debug, Clone)]
pub(crate) enum Run {
    Of(Arc<Flight>),
    /// The run of a batch: its flights wait for it.
    OfBatch(Arc<Batched>),
}

/// A run for several flights.
#[derive(Debug, Default)]
pub(crate) struct Batched {
    /// Whether one of them is to begin with others.
    holds_back: AtomicBool,
}

impl Batched {
    pub(crate) fn hold_back(&self) {
        self.holds_back.store(true, Relaxed);
    }

    /// Whether one was held back since the last time.
    pub(crate) fn has_held_back(&self) -> bool {
        self.holds_back.swap(false, Relaxed)
    }
}

/// One run waits for another flight, as long as this lives.
#[derive(Debug)]
pub(crate) struct WaitEdge {
    from: Run,
    to: Run,
    /// Of an element of a batch, which waits before the function is run.
    is_of_element: bool,
}

/// Boxed, for most calls are made in no run.
pub(crate) type Edge = Option<Box<WaitEdge>>;

impl WaitEdge {
    /// The run of `from` will wait for `to`; `None` where that closes a circle.
    pub(crate) fn waiting(from: Run, to: Run) -> Option<Self> {
        let mut waits = waits();
        if waits.leads(to.id(), from.id()) {
            return None;
        }
        waits.add(&from, &to);
        Some(Self { from, to, is_of_element: false })
    }

    /// The same of an element, for whose batch this is. Also `None` where another element of it waits for
    /// that flight: they have one key, and only one of them could take it over.
    pub(crate) fn of_element(batch: Run, flight: Run) -> Option<Self> {
        let mut waits = waits();
        if waits.has(&batch, &flight) || waits.leads(flight.id(), batch.id()) {
            return None;
        }
        waits.add(&batch, &flight);
        Some(Self { from: batch, to: flight, is_of_element: true })
    }

    /// The same where one of them is new: nobody waits for it, or it waits for nobody.
    pub(crate) fn of_new(from: Run, to: Run, is_of_element: bool) -> Self {
        waits().add(&from, &to);
        Self { from, to, is_of_element }
    }

    /// Whether an element of this batch waits for a flight, before the function is run.
    pub(crate) fn is_waiting(batch: &Arc<Batched>) -> bool {
        waits().0.contains_key(&Arc::as_ptr(batch).addr())
    }

    pub(crate) fn is_of_element(&self) -> bool {
        self.is_of_element
    }

    /// The flight that an element has waited for is to wait for the batch; `false` if that closes a
    /// circle, and nothing has changed then.
    pub(crate) fn turn(&mut self) -> bool {
        let mut waits = waits();
        waits.remove(&self.from, &self.to);
        let closes = waits.leads(self.from.id(), self.to.id());
        if !closes {
            std::mem::swap(&mut self.from, &mut self.to);
        }
        waits.add(&self.from, &self.to);
        !closes
    }
}

impl Drop for WaitEdge {
    fn drop(&mut self) {
        waits().remove(&self.from, &self.to);
    }
}

fn waits() -> MutexGuard<'static, Graph> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Graph {
    fn has(&self, from: &Run, to: &Run) -> bool {
        self.0.get(&from.id()).is_some_and(|targets| targets.contains(&to.id()))
    }

    fn add(&mut self, from: &Run, to: &Run) {
        self.0.entry(from.id()).or_default().push(to.id());
    }

    fn remove(&mut self, from: &Run, to: &Run) {
        let (from, to) = (from.id(), to.id());
        if let Some(targets) = self.0.get_mut(&from) {
            if let Some(at) = targets.iter().position(|target| *target == to) {
                targets.swap_remove(at);
            }
            if targets.is_empty() {
                self.0.remove(&from);
            }
        }
    }

    /// Whether the one waits for the other, or for one that does, and so on.
    fn leads(&self, from: usize, to: usize) -> bool {
        if from == to {
            return true;
        }
        if !self.0.contains_key(&from) {
            return false;
        }
        let (mut seen, mut next) = (HashSet::from([from]), vec![from]);
        while let Some(at) = next.pop() {
            if at == to {
                return true;
            }
            let targets = self.0.get(&at).into_iter().flatten();
            next.extend(targets.filter(|target| seen.insert(**target)));
        }
        false
    }
}

impl Run {
    fn id(&self) -> usize {
        match self {
            Self::Of(flight) => Arc::as_ptr(flight).addr(),
            Self::OfBatch(batched) => Arc::as_ptr(batched).addr(),
        }
    }
}
