//! Which cache a call is made in.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
};

use super::{Cache, Inner};
use crate::{
    call::Call,
    counters::Counters,
    error::InstallError,
    local::{Batched, Edge, Flight, Run, WaitEdge},
    sync::task_local,
};

static INSTALLED: OnceLock<Arc<Inner>> = OnceLock::new();

/// `IS_INSTALLED` and `WAS_SCOPED`, in one byte: most calls look no further. Bits are only added, so
/// neither undoes the other.
static KNOWN: AtomicU8 = AtomicU8::new(0);

const IS_INSTALLED: u8 = 1;

/// There was a scope. A service has none, and then a call need not look for one.
const WAS_SCOPED: u8 = 2;

/// Whether the installed one is the default, made because a call came first.
static IS_DEFAULT: AtomicBool = AtomicBool::new(false);

pub(super) fn install(cache: Cache) -> Result<(), InstallError> {
    // `None` is the installed one itself.
    let inner = cache.inner.ok_or(InstallError::AlreadyInstalled)?;
    INSTALLED.set(inner).map_err(|_| {
        if IS_DEFAULT.load(Relaxed) {
            InstallError::AlreadyUsed
        } else {
            InstallError::AlreadyInstalled
        }
    })
}

#[inline]
pub(super) fn installed() -> &'static Inner {
    match INSTALLED.get() {
        Some(inner) => inner,
        None => default(),
    }
}

/// The installed cache, and the counters of a function in it. Both stay where they are, so each
/// function keeps the two, and a hit finds them with one look.
pub(crate) struct Installed {
    cache: &'static Inner,
    counters: &'static Counters,
}

impl Installed {
    #[inline]
    pub(crate) fn parts(&self) -> (&'static Inner, &'static Counters) {
        (self.cache, self.counters)
    }

    /// Of the function with that number.
    #[cold]
    pub(crate) fn of(function: u32) -> Self {
        let cache = installed();
        Self { cache, counters: cache.functions.of(function) }
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Installed")
    }
}

#[cold]
fn default() -> &'static Inner {
    INSTALLED.get_or_init(|| {
        IS_DEFAULT.store(true, Relaxed);
        Cache::memory().inner.unwrap_or_else(|| unreachable!())
    })
}

/// That of the scope, else the installed one.
#[inline]
pub(crate) fn current() -> Cache {
    if KNOWN.load(Relaxed) == IS_INSTALLED { Cache::INSTALLED } else { look_for_current() }
}

#[cold]
fn look_for_current() -> Cache {
    scope().unwrap_or_else(|| {
        // Chosen now, and not when the call is awaited.
        installed();
        KNOWN.fetch_or(IS_INSTALLED, Relaxed);
        Cache::INSTALLED
    })
}

/// The scope, if there is one.
#[inline]
pub(crate) fn scope() -> Option<Cache> {
    if KNOWN.load(Relaxed) & WAS_SCOPED == 0 { None } else { scope_of_task() }
}

#[cold]
fn scope_of_task() -> Option<Cache> {
    CONTEXT.try_with(|context| context.scope.clone()).ok().flatten()
}

task_local! {
    static CONTEXT: InScope;
}

/// What a task knows of the calls it is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct InScope {
    scope: Option<Cache>,
    /// Whose function is running.
    run: Option<Run>,
    stage: Stage,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    #[default]
    Runs,
    /// Loads for it are under way: its flights wait for it.
    Loads,
    /// The same, and those that begin now do so together.
    Begins,
}

/// A wait that would never end.
#[derive(Debug)]
pub(crate) struct Circle;

impl InScope {
    pub(super) fn of_scope(cache: &Cache) -> Self {
        // A task sees what it has set itself; so does one that it hands a call to.
        KNOWN.fetch_or(WAS_SCOPED, Relaxed);
        Self { scope: Some(cache.clone()), run: Self::current_run(), stage: Stage::Runs }
    }

    /// The function of a call runs in the scope that the call was made in. A run without a
    /// flight is part of the one around it.
    pub(crate) fn of_run(call: &Call, flight: Option<&Arc<Flight>>) -> Self {
        let run = flight.cloned().map(Run::Of).or_else(Self::current_run);
        Self { scope: call.scope(), run, stage: Stage::Runs }
    }

    /// The run of a batch, or what is loaded for it before.
    pub(crate) fn of_batch(scope: Option<Cache>, run: &Arc<Batched>, stage: Stage) -> Self {
        Self { scope, run: Some(Run::OfBatch(Arc::clone(run))), stage }
    }

    /// Whose function makes this call.
    pub(crate) fn current_run() -> Option<Run> {
        CONTEXT.try_with(|context| context.run.clone()).ok().flatten()
    }

    /// Whether a flight is not to begin yet, but with others.
    pub(crate) fn holds_back() -> bool {
        let held_back = |context: &Self| match &context.run {
            Some(Run::OfBatch(batch)) if context.stage == Stage::Begins => {
                batch.hold_back();
                true
            }
            _ => false,
        };
        CONTEXT.try_with(held_back).unwrap_or(false)
    }

    /// Whether what is polled is an element of a batch, and not its function.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_of_element() -> bool {
        CONTEXT.try_with(|context| context.stage == Stage::Begins).unwrap_or(false)
    }

    /// The run that this call is made in will lead this flight, which is new.
    pub(crate) fn leads(flight: &Arc<Flight>) -> Edge {
        let (run, stage) = Self::current()?;
        let flight = Run::Of(Arc::clone(flight));
        Some(Box::new(match stage {
            Stage::Runs => WaitEdge::of_new(run, flight, false),
            Stage::Loads | Stage::Begins => WaitEdge::of_new(flight, run, true),
        }))
    }

    /// The run that this call is made in will wait for the flight.
    pub(crate) fn follows(flight: &Arc<Flight>) -> Result<Edge, Circle> {
        let Some((run, stage)) = Self::current() else {
            return Ok(None);
        };
        let flight = Run::Of(Arc::clone(flight));
        let edge = match stage {
            Stage::Runs => WaitEdge::waiting(run, flight),
            Stage::Loads | Stage::Begins => WaitEdge::of_element(run, flight),
        };
        edge.map(|edge| Some(Box::new(edge))).ok_or(Circle)
    }

    fn current() -> Option<(Run, Stage)> {
        CONTEXT.try_with(|context| Some((context.run.clone()?, context.stage))).ok()?
    }

    pub(crate) fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CONTEXT.scope(self, future)
    }

    pub(crate) fn enter<R>(self, poll: impl FnOnce() -> R) -> R {
        CONTEXT.sync_scope(self, poll)
    }
}

impl Cache {
    /// The installed one.
    pub(crate) const INSTALLED: Self = Self { inner: None };

    /// Whether this handle is counted. Of a cache that is current: whether a scope made it so.
    #[inline]
    pub(crate) fn is_counted(&self) -> bool {
        self.inner.is_some()
    }
}
