//! Flights: one load per key and process, however many callers.
//!
//! The first caller that finds nothing leads: it runs the function, in its own task, and lands
//! the result. Callers that come meanwhile follow: they wait for the landing. A leader that is
//! dropped or panics leaves its flight vacant, and one of the followers takes it over with its
//! own copy of the function's future. Every change of a flight happens under the lock of its
//! shard; only the landed outcome is read without it.

mod follow;
mod lead;
mod pending;

use std::{
    any::{Any, TypeId},
    hash::{BuildHasher as _, Hasher as _},
    sync::{Arc, OnceLock},
    time::Duration,
};

use hashbrown::HashTable;
use tokio::{sync::Notify, time::Instant};

pub(crate) use self::{
    follow::{Followed, Follower, follow},
    lead::Lead,
};

use self::pending::Pending;
use super::{
    fresh::Old,
    store::{Evicted, Generations, Kept},
    tags::{Bumps, Known, Tagged, Tags},
    waits::Edge,
};
use crate::{
    cache::{Cache, InScope},
    call::{Call, Recalled},
    hash::{FoldHasher, RandomState},
    key::KeyText,
    remote::{self, Token},
    sync::{
        Mutex, MutexGuard,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
        lock,
    },
};

/// Of a flight in a process that nobody else tells anything.
const EVERYBODY: u32 = u32::MAX;

/// An error that followers get a copy of, erased.
pub(crate) type SharedError = Arc<dyn Any + Send + Sync>;

/// The loads under way.
#[derive(Debug)]
pub(crate) struct Flights {
    /// How many keys and tags are pending, so that a read need not look for its own where none is.
    pending: AtomicUsize,
    pub(super) bumps: Bumps,
    /// Locked while those of a batch begin.
    together: Mutex<()>,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

/// A model steps through each lock.
const SHARDS: usize = if cfg!(shuttle) { 4 } else { 64 };

#[derive(Debug)]
pub(super) struct Shard {
    /// By text and type of value. Several may stand for one key: one that can be joined, and
    /// others that cannot any more but may still store.
    flights: HashTable<Arc<Flight>>,
    /// Keys and tags that somebody in this process is changing: nothing is read or stored for them.
    pending: HashTable<Pending>,
    /// Stamps of tags in the remote tier.
    pub(super) known: HashTable<Known>,
    /// How many flights and invalidations began here: which of two began first.
    begun: u64,
}

/// A key or a tag by its text, with the hash that its shard and slot go by.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) text: KeyText,
    pub(crate) is_tag: bool,
    hash: u64,
}

impl Named {
    pub(crate) fn slot(&self) -> u16 {
        Generations::slot(self.hash)
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    fn is(&self, other: &Self) -> bool {
        self.hash == other.hash && self.is_tag == other.is_tag && self.text == other.text
    }
}

/// One load of one key.
pub(crate) struct Flight {
    cache: Cache,
    name: Named,
    value: TypeId,
    version: u32,
    /// The generation of the key's slot, before the load.
    generation: AtomicU32,
    tags: Option<Box<Tagged>>,
    /// The order in which the flights of a shard began.
    number: u64,
    /// Whether a caller may still join; not once its followers' patience has ended.
    joinable: AtomicBool,
    /// Whether its leader waits for the run of another process.
    patient: bool,
    /// An invalidation, a `put`, a `refresh` or a newer value came between: it stores nothing.
    superseded: AtomicBool,
    /// The leader is gone, and no follower has taken over yet.
    vacant: AtomicBool,
    followers: AtomicUsize,
    /// The number of the leader's site.
    function: AtomicU32,
    /// When its load began.
    loaded: AtomicU64,
    running: AtomicBool,
    /// A guard has denied something inside of it.
    denied: AtomicBool,
    /// Whether its run is counted by it, and not by a batch that runs for others, too.
    counts: AtomicBool,
    /// When its function started.
    started: AtomicU64,
    /// The same in microseconds, and exactly.
    #[cfg(feature = "metrics")]
    timed: AtomicU64,
    /// When it returned; 0 before.
    ended: AtomicU64,
    /// The lease in the remote tier, which goes from leader to leader.
    token: OnceLock<Token>,
    token_used: AtomicBool,
    /// How many times something was asked or begun that may show the value to be current.
    moment: AtomicU32,
    /// Who joined before this moment has a value that was current then; all, if it is `EVERYBODY`.
    confirmed: AtomicU32,
    /// Whether what it comes to is in the place of a value that may be served meanwhile.
    replaces: AtomicBool,
    /// That value, where it is of use.
    old: Mutex<Option<Offered>>,
    /// Of a flight that asks the remote tier.
    fetch: Option<Fetch>,
    /// Of the leader: it has nothing to hand over.
    landed: AtomicBool,
    outcome: OnceLock<Outcome>,
    changed: Notify,
}

/// A value that is to be replaced by what a flight comes to.
#[derive(Clone)]
struct Offered {
    entry: Kept,
    /// At this moment of the flight it was read in the remote tier; `None` if it was in memory, where a
    /// follower has looked by itself.
    read: Option<u32>,
}

/// The part of a flight that is spent with the remote tier.
struct Fetch {
    began: Instant,
    /// From then until the first run of the function began.
    ran_after: OnceLock<Duration>,
    /// What its commands took, in nanoseconds.
    spent: AtomicU64,
}

impl Fetch {
    fn new() -> Self {
        Self { began: Instant::now(), ran_after: OnceLock::new(), spent: AtomicU64::new(0) }
    }
}

/// What an entry carries of the load that it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
    /// When the load began.
    pub(crate) loaded: u64,
    /// When it ended, or was made without a run.
    pub(crate) now: u64,
}

/// How a flight ended, for its followers.
#[derive(Clone)]
pub(crate) enum Outcome {
    Value(Kept),
    Error(SharedError),
    /// The run has failed, and there is an old value for whom it is not too old. For others, this.
    Old(Kept, Box<Outcome>),
    /// Nothing that can be shared: each follower runs for itself, all at once.
    Unshared,
    /// It lost its leader after it had been superseded, or what it has may be from before the
    /// follower came: each follower starts over.
    Again,
}

/// What a caller wants of a flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Memory, or somebody's run, or a run.
    Load,
    /// A run of its own that others may join, in place of any under way.
    Refresh,
    /// Memory, or a run of its own that nobody joins.
    Alone,
    /// As `Load`, of a caller that has waited long enough: a run of its own waits for no lease.
    Overdue,
}

/// What a caller found.
pub(crate) enum Begun {
    Hit(Kept),
    /// What is served while somebody runs the function, or nobody for now.
    /// Also whether its caller has just read it.
    Old(Kept, bool),
    /// Also who waits for it, or what it waits for.
    Lead(Lead, Edge),
    Follow(Follower),
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self {
            pending: AtomicUsize::new(0),
            bumps: Bumps::default(),
            together: Mutex::default(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
            hasher: RandomState::default(),
        }
    }

    pub(crate) fn name(&self, text: KeyText) -> Named {
        let hash = self.hasher.hash_one(text.as_bytes());
        Named { text, is_tag: false, hash }
    }

    /// The same for a tag, which is none of the keys, whatever its text.
    pub(crate) fn name_tag(&self, text: KeyText) -> Named {
        Named { is_tag: true, ..self.name(text) }
    }

    /// A number for what is hashed.
    pub(crate) fn id_of(&self, hash: impl FnOnce(&mut FoldHasher<'_>)) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hash(&mut hasher);
        hasher.finish()
    }

    fn shard(&self, name: &Named) -> MutexGuard<'_, Shard> {
        self.shard_of(name.hash)
    }

    pub(super) fn shard_of(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[hash as usize % SHARDS])
    }

    /// From now on until this is dropped no other batch begins its flights: of two that overlap, one finds
    /// all those of the other, and the other none of its, so that they do not wait for each other.
    pub(crate) fn together(&self) -> MutexGuard<'_, ()> {
        lock(&self.together)
    }

    /// Hits, joins or leads. `read` is what the caller has read by itself, if it is old. What is of no use
    /// to anybody any more is the caller's to drop: it may run code of the user.
    pub(crate) fn begin(
        cache: &Cache,
        call: &Call,
        mode: Mode,
        read: Option<Old>,
        now: u64,
    ) -> (Begun, Option<Kept>) {
        let name = cache.flights.name(call.text());
        let slot = name.slot();
        let tags = call.tags().map(|tags| Box::new(Tagged::begin(cache, tags)));
        let mut dead = None;
        let mut old = None;
        let mut is_read = false;
        let mut shard = cache.flights.shard(&name);
        if mode != Mode::Refresh && !shard.is_pending(&name) {
            old = read.filter(|read| cache.generations.is_at(&read.entry.header));
            is_read = old.is_some();
            // Somebody may have landed since the caller looked.
            match call.recall(now) {
                Recalled::Fresh(entry) => return (Begun::Hit(entry), None),
                Recalled::Old(found) => (old, is_read) = (Some(found), false),
                Recalled::Dead => dead = cache.store.remove(call),
                Recalled::Nothing => {}
            }
        }
        match mode {
            Mode::Load | Mode::Overdue => {
                if let Some(Old { entry, is_paused: true, .. }) = old {
                    return (Begun::Old(entry, is_read), dead);
                }
                if let Some(flight) = shard.joinable(&name, call, tags.as_deref()) {
                    if let Some(Old { entry, wait: Some(Duration::ZERO), .. }) = old {
                        return (Begun::Old(entry, is_read), dead);
                    }
                    return (Begun::Follow(Follower::join(flight, call, old, now)), dead);
                }
            }
            Mode::Refresh => {
                shard.take_off(&name, |flight| flight.is_for(call), Flight::supersede);
            }
            Mode::Alone => old = None,
        }
        shard.begun += 1;
        let is_shared = remote::of(call).is_some();
        let flight = Arc::new(Flight {
            cache: cache.clone(),
            value: call.instance.entity.value,
            version: call.instance.entity.version,
            generation: AtomicU32::new(cache.generations.at(slot)),
            number: shard.begun,
            joinable: AtomicBool::new(mode != Mode::Alone),
            patient: matches!(mode, Mode::Load | Mode::Refresh),
            superseded: AtomicBool::new(tags.as_ref().is_some_and(|tags| tags.was_pending())),
            tags,
            vacant: AtomicBool::new(false),
            followers: AtomicUsize::new(0),
            function: AtomicU32::new(0),
            loaded: AtomicU64::new(0),
            running: AtomicBool::new(false),
            denied: AtomicBool::new(false),
            counts: AtomicBool::new(true),
            started: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            timed: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            token: OnceLock::new(),
            token_used: AtomicBool::new(false),
            moment: AtomicU32::new(0),
            // Where nobody else invalidates, what supersedes a flight is known here.
            confirmed: AtomicU32::new(if cache.remote.is_none() { EVERYBODY } else { 0 }),
            replaces: AtomicBool::new(old.is_some() || mode == Mode::Refresh),
            old: Mutex::new(old.map(|Old { entry, .. }| Offered {
                entry,
                // Before all others: nobody who joins may take it.
                read: is_read.then_some(0),
            })),
            fetch: is_shared.then(Fetch::new),
            landed: AtomicBool::new(false),
            outcome: OnceLock::new(),
            changed: Notify::new(),
            name,
        });
        // Before anybody can wait for it.
        let edge = InScope::leads(&flight);
        shard.insert(&flight);
        drop(shard);
        (Begun::Lead(Lead::new(flight, call.instance.number, now), edge), dead)
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            // A full group, in which a removal leaves nothing behind that a later insertion would
            // have to clean up.
            flights: HashTable::with_capacity(14),
            pending: HashTable::new(),
            known: HashTable::new(),
            begun: 0,
        }
    }

    fn joinable(&self, name: &Named, call: &Call, tags: Option<&Tagged>) -> Option<&Arc<Flight>> {
        self.flights.find(name.hash, |flight| {
            flight.is_of(name)
                && flight.is_for(call)
                && flight.joinable.load(Relaxed)
                && flight.has_still(tags.map(Tagged::tags))
        })
    }

    /// Takes flights of the key out of the reach of later calls.
    fn take_off(
        &mut self,
        name: &Named,
        which: impl Fn(&Flight) -> bool,
        outdate: impl Fn(&Flight),
    ) {
        while let Ok(found) =
            self.flights.find_entry(name.hash, |flight| flight.is_of(name) && which(flight))
        {
            outdate(&found.remove().0);
        }
    }

    fn insert(&mut self, flight: &Arc<Flight>) {
        let hash = flight.name.hash;
        self.flights.insert_unique(hash, Arc::clone(flight), |flight| flight.name.hash);
    }

    fn remove(&mut self, flight: &Arc<Flight>) {
        let same = |other: &Arc<Flight>| Arc::ptr_eq(other, flight);
        if let Ok(found) = self.flights.find_entry(flight.name.hash, same) {
            found.remove();
        }
    }

    /// Of two that ran at once the one that began later has the newer value.
    fn supersede_older(&self, newer: &Flight) {
        if self.flights.len() < 2 {
            return;
        }
        for older in self.flights.iter_hash(newer.name.hash) {
            let same = older.is_of(&newer.name)
                && older.value == newer.value
                && older.version == newer.version;
            if same && older.number < newer.number {
                older.supersede();
            }
        }
    }
}

impl Flight {
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn name(&self) -> &Named {
        &self.name
    }

    /// Whether its leader holds a lease.
    pub(crate) fn is_leased(&self) -> bool {
        !self.landed.load(Relaxed) && self.unused_token().is_some()
    }

    /// The lease, if it is still to be given back.
    pub(crate) fn unused_token(&self) -> Option<Token> {
        self.token.get().copied().filter(|_| !self.token_used.load(Relaxed))
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        self.cache.flights.shard(&self.name)
    }

    /// Ends the flight, which nobody can join any more.
    fn publish(&self, outcome: Outcome, followers: usize) {
        self.landed.store(true, Relaxed);
        if followers > 0 {
            // Only a leader sets it, and there is one.
            let _ = self.outcome.set(outcome);
            self.changed.notify_waiters();
        }
    }

    /// It stores nothing any more.
    fn supersede(&self) {
        self.superseded.store(true, Relaxed);
    }

    fn is_superseded(&self) -> bool {
        self.superseded.load(Relaxed)
    }

    /// Whether memory would serve what it loads, as far as it is known by now.
    fn is_trusted(&self, now: u64) -> bool {
        let is_proven = self.cache.trust.lasts(now) && !self.is_outdated();
        let as_of = self.tags.as_ref().map_or(u64::MAX, |tags| tags.as_of());
        is_proven || self.cache.is_young(self.loaded.load(Relaxed).min(as_of), now)
    }

    /// Whether its slot or that of a tag has moved since the load began.
    fn is_outdated(&self) -> bool {
        self.cache.generations.at(self.name.slot()) != self.generation.load(Relaxed)
            || self.tags.as_ref().is_some_and(|tags| tags.have_moved(&self.cache))
    }

    fn is_of(&self, name: &Named) -> bool {
        self.name.is(name)
    }

    /// Whether these are its tags, and none of them was bumped since the load began.
    fn has_still(&self, tags: Option<&Tags>) -> bool {
        match (&self.tags, tags) {
            (None, None) => true,
            (Some(tagged), Some(tags)) => tagged.is_of(tags) && !tagged.are_bumped(&self.cache),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// What it was known of its tags when the load began.
    pub(crate) fn tags(&self) -> Option<&Tagged> {
        self.tags.as_deref()
    }

    fn is_for(&self, call: &Call) -> bool {
        self.value == call.instance.entity.value && self.version == call.instance.entity.version
    }
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("number", &self.number).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Named").field(&self.text.to_text()).finish()
    }
}
