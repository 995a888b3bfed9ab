//! Which cache a call is made in.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{Cache, Handle};
use crate::{call::Call, error::InstallError, local::Flight};

static INSTALLED: OnceLock<Cache> = OnceLock::new();

/// Whether the installed one is the default, made because a call came first.
static IS_DEFAULT: AtomicBool = AtomicBool::new(false);

pub(super) fn install(cache: Cache) -> Result<(), InstallError> {
    INSTALLED.set(cache).map_err(|_| {
        if IS_DEFAULT.load(Relaxed) {
            InstallError::AlreadyUsed
        } else {
            InstallError::AlreadyInstalled
        }
    })
}

fn installed() -> &'static Cache {
    INSTALLED.get_or_init(|| {
        IS_DEFAULT.store(true, Relaxed);
        Cache::memory()
    })
}

tokio::task_local! {
    static CONTEXT: InScope;
}

/// What a task knows of the calls it is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct InScope {
    scope: Option<Cache>,
    /// The flight whose function is running.
    run: Option<Arc<Flight>>,
}

/// Where a call got its cache, to tell the run which scope it is in.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// In no scope.
    None,
    /// The cache of the call is that of the scope.
    This,
    /// `cache = …` in the scope of another.
    Other(Cache),
}

impl InScope {
    pub(super) fn of_scope(cache: &Cache) -> Self {
        Self { scope: Some(cache.clone()), run: Self::current_run() }
    }

    /// The function of a call runs in the scope that the call was made in. A run without a
    /// flight is part of the one around it.
    pub(crate) fn of_run(call: &Call, flight: Option<&Arc<Flight>>) -> Self {
        let scope = match &call.scope {
            Scope::None => None,
            Scope::This => Some(call.cache.clone()),
            Scope::Other(cache) => Some(cache.clone()),
        };
        Self { scope, run: flight.cloned().or_else(Self::current_run) }
    }

    /// The flight whose function makes this call.
    pub(crate) fn current_run() -> Option<Arc<Flight>> {
        CONTEXT.try_with(|context| context.run.clone()).ok().flatten()
    }

    pub(crate) fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CONTEXT.scope(self, future)
    }

    pub(crate) fn enter<R>(&self, poll: impl FnOnce() -> R) -> R {
        CONTEXT.sync_scope(self.clone(), poll)
    }
}

impl Cache {
    #[inline]
    pub(crate) fn current_with_scope() -> (Self, Scope) {
        if let Ok(Some(cache)) = CONTEXT.try_with(|context| context.scope.clone()) {
            return (cache, Scope::This);
        }
        match &installed().0 {
            Handle::Counted(inner) => (Self(Handle::Installed(inner)), Scope::None),
            Handle::Installed(inner) => (Self(Handle::Installed(inner)), Scope::None),
        }
    }
}
