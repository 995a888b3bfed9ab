//! Flights: one load per key and process, however many callers.
//!
//! The first caller that finds nothing leads: it runs the function, in its own task, and lands
//! the result. Callers that come meanwhile follow: they wait for the landing. A leader that is
//! dropped or panics leaves its flight vacant, and one of the followers takes it over with its
//! own copy of the function's future. Every change of a flight happens under the lock of its
//! shard; only the landed outcome is read without it.

mod pending;

use std::{
    any::{Any, TypeId},
    hash::{BuildHasher as _, Hasher as _},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use foldhash::fast::{FoldHasher, RandomState};
use hashbrown::HashTable;
use tokio::{sync::Notify, time::Instant};

use self::pending::Pending;
use super::{
    store::{Evicted, Generations, Kept},
    tags::{Bumps, Known, Tagged, Tags},
};
use crate::{
    cache::Cache,
    call::Call,
    clock::nanos,
    counters::{Count, Counters},
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

/// What a leader needs for its last look at the remote tier.
const LAST_LOOK: Duration = Duration::from_millis(50);

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
    /// When its function started.
    started: AtomicU64,
    /// When it returned; 0 before.
    ended: AtomicU64,
    /// The lease in the remote tier, which goes from leader to leader.
    token: OnceLock<Token>,
    token_used: AtomicBool,
    /// How many times something was asked or begun that may show the value to be current.
    moment: AtomicU32,
    /// Who joined before this moment has a value that was current then; all, if it is `EVERYBODY`.
    confirmed: AtomicU32,
    /// Of a flight that asks the remote tier.
    fetch: Option<Fetch>,
    /// Of the leader: it has nothing to hand over.
    landed: AtomicBool,
    outcome: OnceLock<Outcome>,
    changed: Notify,
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
    Lead(Lead),
    Follow(Follower),
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self {
            pending: AtomicUsize::new(0),
            bumps: Bumps::default(),
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

    /// Hits, joins or leads.
    pub(crate) fn begin(cache: &Cache, call: &Call, mode: Mode, now: u64) -> Begun {
        let name = cache.flights.name(call.text());
        let slot = name.slot();
        let tags = call.tags().map(|tags| Box::new(Tagged::begin(cache, tags)));
        let mut dead = None;
        let mut shard = cache.flights.shard(&name);
        if mode != Mode::Refresh && !shard.is_pending(&name) {
            // Somebody may have landed since the caller looked.
            if let Some(entry) = cache.store.peek(call) {
                if cache.is_valid(&entry.header, now) && call.reads(&entry) {
                    return Begun::Hit(entry);
                }
                dead = cache.store.remove(call);
            }
        }
        match mode {
            Mode::Load | Mode::Overdue => {
                if let Some(flight) = shard.joinable(&name, call, tags.as_deref()) {
                    flight.followers.fetch_add(1, Relaxed);
                    let joined = Joined {
                        moment: flight.moment.load(Relaxed),
                        takes_old: call.is_kept_here() && flight.is_trusted(now),
                    };
                    let flight = Arc::clone(flight);
                    drop(shard);
                    return Begun::Follow(Follower::new(flight, call, joined));
                }
            }
            Mode::Refresh => {
                shard.take_off(&name, |flight| flight.is_for(call), Flight::supersede);
            }
            Mode::Alone => {}
        }
        shard.begun += 1;
        let is_shared = remote::of(cache, call).is_some();
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
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            token: OnceLock::new(),
            token_used: AtomicBool::new(false),
            moment: AtomicU32::new(0),
            // Where nobody else invalidates, what supersedes a flight is known here.
            confirmed: AtomicU32::new(if cache.remote.is_none() { EVERYBODY } else { 0 }),
            fetch: is_shared.then(Fetch::new),
            landed: AtomicBool::new(false),
            outcome: OnceLock::new(),
            changed: Notify::new(),
            name,
        });
        shard.insert(&flight);
        drop(shard);
        drop(dead);
        Begun::Lead(Lead::new(flight, call.instance.number, now))
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

/// The one caller that runs. Dropped before it has landed, it leaves the flight to a follower.
///
/// One pointer: what belongs to the leader alone is in the flight, whose next leader overwrites it.
pub(crate) struct Lead {
    flight: Arc<Flight>,
}

impl Lead {
    fn new(flight: Arc<Flight>, function: u32, now: u64) -> Self {
        flight.function.store(function, Relaxed);
        flight.ended.store(0, Relaxed);
        flight.loaded.store(now, Relaxed);
        Self { flight }
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    pub(crate) fn name(&self) -> &Named {
        &self.flight.name
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let Flight { name, generation, loaded, .. } = &*self.flight;
        let generation = generation.load(Relaxed);
        let now = match self.flight.ended.load(Relaxed) {
            0 => self.flight.cache.time.now(),
            ended => ended,
        };
        let loaded = loaded.load(Relaxed);
        Stamp { slot: name.slot(), generation, loaded, now }
    }

    /// The lease of this load in the remote tier, if it has one.
    pub(crate) fn token(&self) -> Option<Token> {
        self.flight.token.get().copied()
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.flight.patient
    }

    /// Something is about to be asked or begun that may show the value to be current. Who joins
    /// from now on joins later than that.
    pub(crate) fn mark(&self) -> u32 {
        let flight = &self.flight;
        let _shard = flight.shard();
        flight.moment.fetch_add(1, Relaxed) + 1
    }

    /// What was marked has shown that the value was current then.
    pub(crate) fn confirm(&self, mark: u32) {
        self.flight.confirmed.fetch_max(mark, Relaxed);
    }

    /// It has waited, and is about to read anew: what came until now outdates nothing that it will
    /// have. Unless this process itself is changing the key.
    pub(crate) fn look_anew(&self) {
        let flight = &self.flight;
        if self.may_be_kept() {
            return;
        }
        if let Some(tags) = flight.tags() {
            tags.begin_anew(&flight.cache);
            if tags.was_pending() {
                // What it will find may be from before, and so would be what it keeps or shares.
                flight.supersede();
                flight.shard().remove(flight);
                return;
            }
        }
        let mut shard = flight.shard();
        if shard.is_pending(&flight.name) {
            return;
        }
        flight.generation.store(flight.cache.generations.at(flight.name.slot()), Relaxed);
        flight.superseded.store(false, Relaxed);
        // It may have been taken off.
        shard.remove(flight);
        shard.insert(flight);
    }

    /// What the commands of this flight took so far.
    pub(crate) fn spent(&self) -> Duration {
        let spent = self.flight.fetch.as_ref().map(|fetch| fetch.spent.load(Relaxed));
        Duration::from_nanos(spent.unwrap_or(0))
    }

    pub(crate) fn spend(&self, time: Duration) {
        if let Some(fetch) = &self.flight.fetch {
            fetch.spent.fetch_add(nanos(time), Relaxed);
        }
    }

    pub(crate) fn forget_spent(&self) {
        if let Some(fetch) = &self.flight.fetch {
            fetch.spent.store(0, Relaxed);
        }
    }

    /// What the run took.
    pub(crate) fn cost(&self) -> Duration {
        let (started, ended) = (&self.flight.started, &self.flight.ended);
        Duration::from_nanos(ended.load(Relaxed).saturating_sub(started.load(Relaxed)))
    }

    pub(crate) fn granted(&self, token: Token) {
        let _ = self.flight.token.set(token);
    }

    /// The remote tier took the lease back, with a value or because it was lost.
    pub(crate) fn used_up(&self) {
        self.flight.token_used.store(true, Relaxed);
    }

    /// Whatever this load comes to is not stored: the remote tier said no.
    pub(crate) fn keep_nothing(&self) {
        self.flight.supersede();
    }

    fn counters(&self) -> &Counters {
        self.flight.cache.functions.of(self.flight.function.load(Relaxed))
    }

    /// The function starts, or goes on.
    pub(crate) fn run(&self) {
        let flight = &self.flight;
        if !flight.running.load(Relaxed) {
            flight.running.store(true, Relaxed);
            // Without a remote tier it starts as soon as the load begins.
            let started = match flight.cache.remote {
                None => flight.loaded.load(Relaxed),
                Some(_) => flight.cache.time.now(),
            };
            flight.started.store(started, Relaxed);
            if flight.cache.remote.is_some() {
                self.confirm(self.mark());
            }
            if let Some(fetch) = &flight.fetch {
                let _ = fetch.ran_after.set(fetch.began.elapsed());
            }
            self.counters().add(Count::Runs, 1);
        }
    }

    /// The function returned, or was dropped.
    pub(crate) fn ran(&self) {
        let flight = &self.flight;
        // Only the leader changes it.
        if flight.running.load(Relaxed) {
            flight.running.store(false, Relaxed);
            // By the coarse clock: a short run counts as none, or rarely as a whole tick, and over
            // many that comes to the same.
            let ended = flight.cache.time.now();
            flight.ended.store(ended, Relaxed);
            let took = ended.saturating_sub(flight.started.load(Relaxed));
            self.counters().add(Count::Ended, 1);
            self.counters().add(Count::RunNanos, took);
        }
    }

    pub(crate) fn failed(&self) {
        self.counters().add(Count::Errors, 1);
    }

    /// A result is not stored that should have been.
    pub(crate) fn refused(&self) {
        self.counters().add(Count::Refused, 1);
    }

    /// Whether anybody waits. One who joins later runs for itself.
    pub(crate) fn has_followers(&self) -> bool {
        self.flight.followers.load(Relaxed) > 0
    }

    /// From now on nobody joins; says how many have.
    pub(crate) fn close(&self) -> usize {
        let mut shard = self.flight.shard();
        shard.remove(&self.flight);
        self.flight.followers.load(Relaxed)
    }

    /// Whether something came between that outdates what this flight loaded: not what became of
    /// other keys of its slot, or of the link to other processes.
    pub(crate) fn is_superseded(&self) -> bool {
        self.flight.superseded.load(Relaxed)
    }

    /// Whether what this flight loaded may be kept in memory.
    fn may_be_kept(&self) -> bool {
        !self.is_superseded() && !self.flight.is_outdated()
    }

    /// Keeps the entry, if it may, and gives it to the followers.
    pub(crate) fn land_stored(self, call: &Call, entry: Kept) {
        let flight = &*self.flight;
        let mut shard = flight.shard();
        let mut evicted = Evicted::default();
        if self.may_be_kept() && !shard.is_pending(&flight.name) {
            entry.label(call, flight.tags());
            evicted = flight.cache.store.insert(call, entry.clone());
            shard.supersede_older(flight);
        } else if !flight.token_used.load(Relaxed) {
            self.refused();
        }
        shard.remove(&self.flight);
        let followers = flight.followers.load(Relaxed);
        drop(shard);
        drop(evicted);
        flight.publish(Outcome::Value(entry), followers);
    }

    /// Gives the followers what they get, and stores nothing.
    pub(crate) fn land(self, outcome: Outcome) {
        let followers = self.close();
        self.flight.publish(outcome, followers);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.ran();
        let flight = &self.flight;
        if flight.landed.load(Relaxed) {
            return remote::give_back(flight);
        }
        let mut shard = flight.shard();
        if flight.followers.load(Relaxed) == 0 {
            shard.remove(flight);
            drop(shard);
            remote::give_back(flight);
        } else {
            flight.vacant.store(true, Relaxed);
            drop(shard);
            // All of them: one alone may be held by a task that does not poll it, and would keep
            // the flight to itself.
            flight.changed.notify_waiters();
        }
    }
}

/// A caller that waits for another's run.
pub(crate) struct Follower {
    flight: Arc<Flight>,
    /// The number of its site.
    function: u32,
    joined: Joined,
    /// In a flight that asks the remote tier.
    since: Option<Instant>,
    /// It leads now.
    left: bool,
}

/// When a follower joined.
#[derive(Debug, Clone, Copy)]
struct Joined {
    /// At which moment of the flight.
    moment: u32,
    /// Whether memory would have served it something as old as this flight then.
    takes_old: bool,
}

/// What became of the wait.
pub(crate) enum Followed {
    Landed(Outcome),
    Lead(Lead),
    /// It waited long enough: whoever's wait has ended shares one new flight.
    Overdue,
}

impl Follower {
    fn new(flight: Arc<Flight>, call: &Call, joined: Joined) -> Self {
        let function = call.instance.number;
        flight.cache.functions.of(function).waiters.fetch_add(1, Relaxed);
        let since = flight.fetch.is_some().then(Instant::now);
        Self { flight, function, joined, since, left: false }
    }

    /// F5: whether a value is current enough for this follower: it was when it joined or later, or
    /// memory would have served it something as old.
    fn may_take_value(&self) -> bool {
        let confirmed = self.flight.confirmed.load(Relaxed);
        confirmed == EVERYBODY || self.joined.moment < confirmed || self.joined.takes_old
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Becomes the leader of a flight that has lost its own; `None` where another did.
    fn take_over(&mut self) -> Option<Followed> {
        let Self { flight, function, left, .. } = self;
        let mut shard = flight.shard();
        if !flight.vacant.swap(false, Relaxed) {
            return None;
        }
        *left = true;
        let followers = flight.followers.fetch_sub(1, Relaxed) - 1;
        if flight.is_outdated() || flight.superseded.load(Relaxed) {
            // A run that begins now is newer than what outdated the flight.
            shard.remove(flight);
            drop(shard);
            flight.publish(Outcome::Again, followers);
            remote::give_back(flight);
            return Some(Followed::Landed(Outcome::Again));
        }
        drop(shard);
        if let Some(tags) = &flight.tags {
            tags.goes_by(u64::MAX);
        }
        let now = flight.cache.time.now();
        Some(Followed::Lead(Lead::new(Arc::clone(flight), *function, now)))
    }

    /// How much longer to wait at the end of a wait, if at all: a leader that waited for the run of
    /// another process, and has begun its own by now or is about to, is shared as it would be by who
    /// comes now.
    fn more_patience(&self) -> Option<Duration> {
        let (fetch, lease) = (self.flight.fetch.as_ref()?, self.flight.cache.settings.lease);
        let waited = self.since?.elapsed();
        match fetch.ran_after.get() {
            None => (waited < 2 * lease).then_some(LAST_LOOK),
            Some(ran_after) => {
                let began = fetch.began + *ran_after;
                if self.since? >= began {
                    return None;
                }
                let left = lease.saturating_sub(began.elapsed());
                (!left.is_zero()).then_some(left)
            }
        }
    }

    /// Nobody else joins a flight that somebody has waited for too long.
    fn give_up(&self) {
        let _shard = self.flight.shard();
        self.flight.joinable.store(false, Relaxed);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let Self { flight, function, left, .. } = self;
        flight.cache.functions.of(*function).waiters.fetch_sub(1, Relaxed);
        if *left {
            return;
        }
        let mut shard = flight.shard();
        let remaining = flight.followers.fetch_sub(1, Relaxed) - 1;
        if remaining == 0 && flight.vacant.load(Relaxed) {
            shard.remove(flight);
            drop(shard);
            remote::give_back(flight);
        }
    }
}

/// Waits for the landing of a flight, for `lease` at most.
pub(crate) async fn follow(mut follower: Follower) -> Followed {
    // Without a runtime there are no timers, and the wait has no end but the landing.
    if tokio::runtime::Handle::try_current().is_err() {
        return landing(&mut follower).await;
    }
    let mut patience = follower.flight.cache.settings.lease;
    loop {
        // One timer for all of the wait, whoever polls the rest of it.
        if let Ok(followed) = tokio::time::timeout(patience, landing(&mut follower)).await {
            return followed;
        }
        match follower.more_patience() {
            Some(more) => patience = more,
            None => break,
        }
    }
    follower.give_up();
    Followed::Overdue
}

async fn landing(follower: &mut Follower) -> Followed {
    let flight = Arc::clone(&follower.flight);
    loop {
        let mut changed = pin!(flight.changed.notified());
        // From here on no notification is missed.
        changed.as_mut().enable();
        if let Some(outcome) = flight.outcome.get() {
            return Followed::Landed(match outcome {
                Outcome::Value(_) if !follower.may_take_value() => Outcome::Again,
                outcome => outcome.clone(),
            });
        }
        if flight.vacant.load(Relaxed)
            && let Some(followed) = follower.take_over()
        {
            return followed;
        }
        changed.await;
    }
}
