use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use super::Target;
use crate::{
    cache::Cache,
    call::{Call, Made},
    local::{Flights, Kept, Stamp, Tagged, Tags},
    remote::{Hold, Holding},
};

/// A hold on one entry, which begins before the change and has to be ended. Dropped before that,
/// nobody knows whether the change took place, or will: the entry is invalidated in the background,
/// and the hold lasts for its term at least.
pub(super) struct Held {
    target: Target,
    /// Of an entry that a value may come of, and what was known of them when it began.
    tags: Option<Tagged>,
    /// In the remote tier, if there is one: whether or not it was granted, it is ended there.
    hold: Option<Hold>,
    holding: Arc<Holding>,
    is_granted: bool,
    /// How long it lasts if it is dropped now.
    rest: Option<Duration>,
    has_ended: bool,
}

impl Held {
    /// Nothing of the entry is read or stored in this process from now on.
    pub(super) fn begin(target: Target, is_put: bool) -> Self {
        let Target { cache, name, call } = &target;
        Flights::hold(cache, name, call.as_ref());
        let tags = call.as_ref().filter(|_| is_put).and_then(Call::tags);
        let hold = cache.remote.as_ref().map(|_| Hold {
            key: cache.remote_key(name),
            token: cache.token(),
            tags: tags.iter().flat_map(Tags::iter).map(|tag| cache.remote_key(tag)).collect(),
        });
        Self {
            tags: tags.map(|tags| Tagged::begin(cache, tags)),
            hold,
            target,
            holding: Arc::default(),
            is_granted: false,
            rest: None,
            has_ended: false,
        }
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

    /// The remote tier has it for so long, if there is one: it is renewed there until it ends.
    pub(super) fn granted(&mut self, lasts: Duration, term: Duration) {
        self.is_granted = true;
        self.rest = Some(lasts);
        if let Some(hold) = &self.hold {
            let cache = &self.target.cache;
            cache.renewals.add_hold(cache, &self.holding, hold, (lasts, term));
        }
    }

    pub(super) fn is_granted(&self) -> bool {
        self.is_granted
    }

    /// The change is over: from now on it lasts no longer than it takes to end it.
    pub(super) fn change_is_over(&mut self) {
        self.rest = None;
        Flights::overtake(&self.target.cache, &self.target.name);
    }

    /// From now on it is not renewed.
    pub(super) async fn end(&self) {
        self.holding.end().await;
    }

    /// Ends it where there is no remote tier, with the value of the change.
    pub(super) fn settle_here(self, value: Option<Made>) {
        let entry = value.map(|made| self.entry(made));
        self.settled(entry);
    }

    /// What is to be kept of the change. Its generation is that of the moment when it is.
    pub(super) fn entry(&self, made: Made) -> Kept {
        let Target { cache, name, .. } = &self.target;
        let now = cache.time.now();
        // Of a tag that was bumped elsewhere meanwhile, nobody here may have been told.
        let loaded = self.tags.as_ref().map_or(now, Tagged::began);
        (made.entry)(Stamp { slot: name.slot(), generation: 0, loaded, now })
    }

    /// It has ended in the remote tier. The entry is kept if nobody else has changed it meanwhile.
    pub(super) fn settled(mut self, entry: Option<Kept>) {
        let Target { cache, name, call } = &self.target;
        let is_kept = call.as_ref().is_some_and(Call::is_kept_here)
            && !self.tags.as_ref().is_some_and(Tagged::was_pending);
        let entry = entry.filter(|_| is_kept);
        Flights::settle(cache, name, call.as_ref(), self.tags.as_ref(), entry);
        self.has_ended = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.holding.abandon();
        let Target { cache, name, call } = &self.target;
        let call = call.as_ref();
        let number = self.hold.as_ref().map(|_| Flights::suspend(cache, name, call));
        // A COMMIT that is on its way takes effect while nobody stores, as it would if this process
        // had died. In the remote tier the hold ends by itself then.
        let rest = self.rest.take().zip(Handle::try_current().ok());
        let token = self.hold.as_ref().map(|hold| hold.token).filter(|_| rest.is_none());
        // First pending, then not held any more: never neither.
        let resting = Resting(self.target.clone());
        if let Some((rest, runtime)) = rest {
            Flights::outdate(cache, name, call);
            runtime.spawn(async move {
                sleep(rest).await;
                drop(resting);
            });
        }
        if let Some(number) = number {
            cache.repairs.add(cache, name.clone(), number, token);
        }
    }
}

/// Ends a hold in this process when it is dropped, if only because the runtime has ended that was to
/// wait for it.
struct Resting(Target);

impl Drop for Resting {
    fn drop(&mut self) {
        let Target { cache, name, call } = &self.0;
        Flights::settle(cache, name, call.as_ref(), None, None);
    }
}
