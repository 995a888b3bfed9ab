use std::{sync::Arc, time::Duration};

use super::Target;
use crate::{
    cache::Cache,
    call::{Call, Made},
    local::{Flights, Kept, Stamp},
    remote::{Hold, Holding},
};

/// A hold on one entry, which begins before the change and has to be ended. Dropped before that,
/// nobody knows whether the change took place: it ends in the background, as an invalidation.
pub(super) struct Held {
    target: Target,
    /// In the remote tier, if there is one: whether or not it was granted, it is ended there.
    hold: Option<Hold>,
    holding: Arc<Holding>,
    is_granted: bool,
    has_ended: bool,
}

impl Held {
    /// Nothing of the entry is read or stored in this process from now on.
    pub(super) fn begin(target: Target) -> Self {
        let Target { cache, name, .. } = &target;
        Flights::hold(cache, name, target.lookup());
        let hold = cache
            .remote
            .as_ref()
            .map(|_| Hold { key: cache.remote_key(&name.text), token: cache.token() });
        Self { hold, target, holding: Arc::default(), is_granted: false, has_ended: false }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn is_in(&self, cache: &Cache) -> bool {
        self.target.cache.is(cache)
    }

    /// What there is of it in the remote tier.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// The remote tier has it: it is renewed there until it ends.
    pub(super) fn granted(&mut self, term: Duration) {
        self.is_granted = true;
        if let Some(hold) = &self.hold {
            let cache = &self.target.cache;
            cache.renewals.add_hold(cache, &self.holding, hold, term);
        }
    }

    pub(super) fn is_granted(&self) -> bool {
        self.is_granted
    }

    /// From now on it is not renewed.
    pub(super) async fn end(&self) {
        self.holding.end().await;
    }

    /// Ends it where there is no remote tier, with the value of the change.
    pub(super) fn settle_here(self, value: Option<Made>) {
        let Target { cache, name, .. } = &self.target;
        let now = cache.time.now();
        let stamp = Stamp { slot: name.slot(), generation: 0, loaded: now, now };
        let entry = value.map(|made| (made.entry)(stamp));
        self.settled(entry);
    }

    /// It has ended in the remote tier. The entry is kept if nobody else has changed it meanwhile.
    pub(super) fn settled(mut self, entry: Option<Kept>) {
        let Target { cache, name, call } = &self.target;
        let is_kept = call.as_ref().is_some_and(Call::is_kept_here);
        Flights::settle(cache, name, self.target.lookup(), entry.filter(|_| is_kept));
        self.has_ended = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let Target { cache, name, .. } = &self.target;
        let Some(Hold { token, .. }) = self.hold else {
            return Flights::settle(cache, name, self.target.lookup(), None);
        };
        // First pending, then not held any more: never neither.
        let number = Flights::suspend(cache, name, self.target.lookup());
        Flights::settle(cache, name, None, None);
        cache.repairs.add(cache, name.clone(), number, Some(token));
    }
}
