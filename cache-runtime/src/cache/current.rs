//! Which cache a call is made in.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{Cache, Inner};
use crate::{call::Call, error::InstallError, local::Flight, sync::task_local};

static INSTALLED: OnceLock<Arc<Inner>> = OnceLock::new();

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

#[cold]
fn default() -> &'static Inner {
    INSTALLED.get_or_init(|| {
        IS_DEFAULT.store(true, Relaxed);
        Cache::memory().inner.unwrap_or_else(|| unreachable!())
    })
}

/// Whether there ever was a scope. A service has none, and then a call need not look for one.
static SCOPED: AtomicBool = AtomicBool::new(false);

/// That of the scope, else the installed one.
#[inline]
pub(crate) fn current() -> Cache {
    scope().unwrap_or_else(|| {
        // Chosen now, and not when the call is awaited.
        installed();
        Cache::INSTALLED
    })
}

/// The scope, if there is one.
#[inline]
pub(crate) fn scope() -> Option<Cache> {
    if SCOPED.load(Relaxed) { scope_of_task() } else { None }
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
    /// The flight whose function is running.
    run: Option<Arc<Flight>>,
}

impl InScope {
    pub(super) fn of_scope(cache: &Cache) -> Self {
        // A task sees what it has set itself; so does one that it hands a call to.
        SCOPED.store(true, Relaxed);
        Self { scope: Some(cache.clone()), run: Self::current_run() }
    }

    /// The function of a call runs in the scope that the call was made in. A run without a
    /// flight is part of the one around it.
    pub(crate) fn of_run(call: &Call, flight: Option<&Arc<Flight>>) -> Self {
        Self { scope: call.scope(), run: flight.cloned().or_else(Self::current_run) }
    }

    /// The flight whose function makes this call.
    pub(crate) fn current_run() -> Option<Arc<Flight>> {
        CONTEXT.try_with(|context| context.run.clone()).ok().flatten()
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
    const INSTALLED: Self = Self { inner: None };

    /// Of a cache that is current: whether a scope made it so.
    pub(crate) fn is_of_scope(&self) -> bool {
        self.inner.is_some()
    }
}
