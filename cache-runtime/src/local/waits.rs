//! Who waits for whom. A run that calls a cached function may wait for the run of another call,
//! and that for a third; where such a wait would close a circle (`f(1)` calls `f(2)`, which
//! calls `f(1)`), nobody would ever be done, so the call runs its function instead.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::flight::Flight;

/// The flights that the run of each flight waits for. One graph for all caches: a run in one
/// may call a function in another. Only calls inside a run that miss come here.
static WAITS: Mutex<BTreeMap<usize, Vec<usize>>> = Mutex::new(BTreeMap::new());

/// One run waits for another flight, as long as this lives.
#[derive(Debug)]
pub(crate) struct WaitEdge {
    // Kept alive, so that their addresses name them.
    from: Arc<Flight>,
    to: Arc<Flight>,
}

impl WaitEdge {
    /// The run of `from` will wait for `to`; `None` where that closes a circle.
    pub(crate) fn waiting(from: &Arc<Flight>, to: &Arc<Flight>) -> Option<Self> {
        let (from_id, to_id) = (id(from), id(to));
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = vec![to_id];
        let mut next = 0;
        while let Some(at) = seen.get(next).copied() {
            if at == from_id {
                return None;
            }
            for target in waits.get(&at).into_iter().flatten() {
                if !seen.contains(target) {
                    seen.push(*target);
                }
            }
            next += 1;
        }
        waits.entry(from_id).or_default().push(to_id);
        Some(Self { from: Arc::clone(from), to: Arc::clone(to) })
    }
}

impl Drop for WaitEdge {
    fn drop(&mut self) {
        let (from, to) = (id(&self.from), id(&self.to));
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(targets) = waits.get_mut(&from) {
            if let Some(at) = targets.iter().position(|target| *target == to) {
                targets.swap_remove(at);
            }
            if targets.is_empty() {
                waits.remove(&from);
            }
        }
    }
}

fn id(flight: &Arc<Flight>) -> usize {
    Arc::as_ptr(flight).addr()
}
