//! A caller of the cached function.

use super::{
    Add, Broken, Protocol, Rule, State, Steps, Who,
    freshness::{Age, Old},
    process::Entry,
    redis::{Ask, Late, Leased, Token},
    tag::Reading,
};
use crate::configurations::{Configuration, Tagged};

/// One caller.
#[allow(clippy::struct_excessive_bools, reason = "what is known of it, each by itself")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reader {
    /// Where it runs.
    pub process: u8,
    /// What it does next.
    pub phase: Phase,
    /// The newest version whose invalidation had returned when the call began.
    pub completed: u8,
    /// The same, of this process, where it may have failed.
    pub returned: u8,
    /// Of what is trusted as memory is: nothing older than this. It is what a follower takes from a
    /// leader, or what a process takes from Redis by the stamp that it has.
    pub trusted: u8,
    /// How many flights it has led.
    pub flights: u8,
    /// Of a leader: its lease.
    pub token: Option<Token>,
    /// Of a leader: it stores nothing.
    pub is_superseded: bool,
    /// Of a leader: memory keeps nothing of it, for the slot has moved since it began.
    pub is_outdated: bool,
    /// Of a leader: `max_staleness` has passed since its load began.
    pub is_old: bool,
    /// Of a leader: what it has got.
    pub value: u8,
    /// Of a leader: how old that is.
    pub age: Age,
    /// What it asks LEASE for.
    pub ask: Ask,
    /// What it has found that is not fresh.
    pub old: Option<Old>,
    /// Of a leader: its caller has its answer, and the run goes on in the background.
    pub is_answered: bool,
}

/// What a caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "said by the names")]
pub enum Phase {
    /// There is no such caller.
    #[default]
    Nobody,
    /// It calls.
    Call,
    /// It looks into memory, or reads Redis by itself where nothing is kept in memory.
    Look,
    /// It joins a flight or leads one, having read Redis by itself.
    Begin,
    /// It has read a value, which carries another stamp than its process has.
    Reread {
        leads: bool,
    },
    /// It has read the value, and the stamp that Redis has.
    Judge {
        leads: bool,
    },
    /// It leads.
    Get,
    Lease,
    /// Its lease is granted. The tag had no stamp.
    Seed,
    /// Its lease is granted, but the tag is held.
    GiveBack,
    Wait(Token),
    Run,
    Ran,
    Land(Keep),
    /// The function has failed.
    Failed,
    /// The lease was given back, and had stood until then: what stands there is read again.
    ReadAgain,
    /// L5: with what is old, or without.
    Fall,
    /// It waits for a leader.
    Follow {
        leader: u8,
        /// F5: what comes was current when it joined, or later.
        is_confirmed: bool,
        /// F5: memory would have served something as old.
        is_trusted: bool,
    },
    Done,
    /// Cancelled, or its process is gone.
    Gone,
}

/// What memory keeps of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// An entry for its whole life.
    Fully,
    /// One that ends when it is old: Redis knows nothing of it.
    Unconfirmed,
    /// Nothing.
    No,
}

/// Where a call has its value from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Redis, or a run.
    Redis,
    /// Memory, or a flight that is trusted like memory.
    Memory,
}

impl Reader {
    /// Whether it leads a flight.
    pub(super) fn leads(&self) -> bool {
        use Phase::{
            Failed, Fall, Get, GiveBack, Judge, Land, Lease, Ran, ReadAgain, Reread, Run, Seed,
            Wait,
        };
        match self.phase {
            Get | Lease | Seed | GiveBack | Wait(_) | Run | Ran | Land(_) | Failed | ReadAgain
            | Fall => true,
            Reread { leads } | Judge { leads } => leads,
            _ => false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Nobody | Phase::Done | Phase::Gone)
    }

    /// Nothing of it matters any more.
    pub(super) fn end(&mut self, phase: Phase) {
        *self = Self { process: self.process, phase, ..Self::default() };
    }

    pub(super) fn follows(&self, leader: u8) -> bool {
        matches!(self.phase, Phase::Follow { leader: of, .. } if of == leader)
    }
}

impl Protocol {
    pub(super) fn reader_steps(&self, state: &State, number: u8, steps: &mut Steps) {
        let reader = state.readers[number as usize];
        if reader.is_done() {
            return;
        }
        let who = Who::Reader(number);
        let mut after = *state;
        let this = &mut after.readers[number as usize];
        match reader.phase {
            Phase::Call => {
                // Those of one process are alike: they call in the order of their numbers.
                let is_waiting =
                    |other: &Reader| other.process == reader.process && other.phase == Phase::Call;
                if state.readers[..number as usize].iter().any(is_waiting) {
                    return;
                }
                this.completed = state.completed;
                this.returned = state.processes[reader.process as usize].returned;
                if self.configuration.refreshes(number) {
                    after.begin_refresh(number);
                    steps.certain(who, "refreshes", after);
                } else {
                    self.look(&after, number, steps);
                }
                return;
            }
            Phase::Look => self.look(&after, number, steps),
            Phase::Begin => {
                let what = self.begin(&mut after, number);
                steps.certain(who, what, after);
            }
            Phase::Get => {
                if self.broken != Some(Broken::HandsOldOver) {
                    this.old = None;
                }
                if let Some(tag) = state.tag {
                    self.get_tagged(&mut after, tag, number, true);
                } else {
                    self.got(&mut after, number);
                }
                steps.certain(who, "GET", after);
                if let Some(mut after) = state.failing(None) {
                    after.readers[number as usize].phase = Phase::Run;
                    steps.chance(who, "GET fails", after);
                }
            }
            Phase::Lease => self.ask(state, number, steps),
            Phase::Wait(token) => {
                // Looks that find no change change nothing.
                if state.key.runner() != Some(token) {
                    this.phase = Phase::Get;
                    after.look_anew(number);
                    steps.certain(who, "looks again", after);
                }
                let mut after = *state;
                after.readers[number as usize].phase = Phase::Run;
                steps.certain(who, "has waited for a lease's time", after);
            }
            Phase::Reread { .. } | Phase::Judge { .. } | Phase::Seed | Phase::GiveBack => {
                self.tag_steps(state, number, steps);
            }
            Phase::Run => self.run(state, number, steps),
            Phase::Ran => self.store(state, number, steps),
            Phase::Failed => self.failed(state, number, steps),
            Phase::ReadAgain => self.read_again(state, number, steps),
            Phase::Fall => {
                let what = self.fall_back(&mut after, number);
                steps.certain(who, what, after);
            }
            Phase::Land(keep) => {
                self.land(&mut after, number, keep);
                steps.certain(who, "lands", after);
            }
            Phase::Follow { .. } | Phase::Nobody | Phase::Done | Phase::Gone => {}
        }
        self.impatience(state, number, steps);
        if state.left.cancels > 0 {
            self.cancel_reader(state, number, steps);
        }
    }

    /// LEASE.
    fn ask(&self, state: &State, number: u8, steps: &mut Steps) {
        let (who, reader) = (Who::Reader(number), state.readers[number as usize]);
        let mut after = *state;
        let (token, ask) = (number | reader.flights << 2, reader.ask);
        let seen = state.tag.and_then(|tag| tag.readings[number as usize].seen);
        let leased = after.lease(token, ask, seen, self.broken);
        let this = &mut after.readers[number as usize];
        match leased {
            Leased::Granted { is_refresh } => {
                this.token = Some(token);
                this.phase = Phase::Run;
                self.read_stamp(&mut after, number);
                self.elected(&mut after, number, is_refresh);
            }
            Leased::Found(_, Age::Stale) if self.waits_for_new(state) => {
                this.phase = state.key.runner().map_or(Phase::Run, Phase::Wait);
            }
            Leased::Found(value, age) => after.found_by_lease(number, value, age),
            Leased::Busy(other) => this.phase = Phase::Wait(other),
            Leased::Held => {
                this.is_superseded = true;
                this.phase = Phase::Run;
            }
        }
        steps.certain(who, "LEASE", after);
        if let Some(mut after) = state.failing(Some(Late::Lease { token, ask, seen })) {
            after.readers[number as usize].phase = Phase::Run;
            steps.chance(who, "LEASE times out", after);
        }
    }

    /// It works, or it does not.
    fn run(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Reader(number);
        let mut after = *state;
        let this = &mut after.readers[number as usize];
        this.value = state.db;
        this.phase = Phase::Ran;
        after.confirm_followers(number);
        self.learn(&mut after, number);
        steps.certain(who, "runs the function", after);
        if state.left.errors > 0 {
            let mut after = *state;
            after.left.errors -= 1;
            after.readers[number as usize].phase = Phase::Failed;
            steps.chance(who, "runs the function, which fails", after);
        }
    }

    /// The first look of a call, and of one that starts over.
    fn look(&self, state: &State, number: u8, steps: &mut Steps) {
        let is_early = self.configuration.freshness.is_early;
        let asks: &[_] = if is_early { &[Ask::Load, Ask::Early] } else { &[Ask::Load] };
        for ask in asks {
            let mut after = *state;
            let this = &mut after.readers[number as usize];
            (this.ask, this.old) = (*ask, None);
            let what = if self.configuration.memory || state.is_pending(this.process) {
                self.begin(&mut after, number)
            } else {
                // Nothing else happens in this process between the call and its GET.
                self.get_alone(&mut after, number);
                "GET, in no flight"
            };
            steps.certain(Who::Reader(number), what, after);
        }
    }

    /// Hits, joins or leads.
    fn begin(&self, state: &mut State, number: u8) -> &'static str {
        let Configuration { memory, freshness, .. } = self.configuration;
        let process = state.readers[number as usize].process;
        let here = state.processes[process as usize];
        if let Some(entry) = here.memory
            && !state.is_pending(process)
            && (here.is_trusted || !entry.is_old)
        {
            let mut trusted = state.trusted(process, here.is_trusted);
            if let Some(tag) = state.tag.filter(|_| !here.is_trusted) {
                trusted = trusted.max(tag.processes[process as usize].as_of);
            }
            let Entry { value, age, .. } = entry;
            let this = &mut state.readers[number as usize];
            let old = Old { is_remembered: true, trusted, ..Old::in_redis(value, age) };
            if matches!(age, Age::Fresh | Age::Past) && this.ask == Ask::Load {
                state.serve_old(number, old);
                return "hits memory";
            }
            this.old = Some(old);
        }
        let at_once = state.readers[number as usize].served_at_once(freshness);
        if let Some(old) = at_once.filter(|_| here.flight.is_some()) {
            state.serve_old(number, old);
            return "takes what is old";
        }
        if let Some(leader) = here.flight {
            let flight = state.readers[leader as usize];
            let is_proven = here.is_trusted && !flight.is_outdated;
            let is_near = is_proven || !flight.is_old || self.broken == Some(Broken::UntrustedJoin);
            let is_trusted = memory && is_near;
            let mut trusted = state.trusted(process, is_proven);
            if let Some(tag) = state.tag.filter(|_| !is_proven) {
                trusted = trusted.max(tag.readings[leader as usize].as_of);
            }
            let counts = is_trusted || self.configuration.tagged == Tagged::Locally;
            let this = &mut state.readers[number as usize];
            this.phase = Phase::Follow { leader, is_confirmed: false, is_trusted };
            this.trusted = if counts { trusted } else { 0 };
            return "joins a flight";
        }
        let is_pending = state.is_pending(process);
        let reader = &mut state.readers[number as usize];
        if is_pending {
            reader.old = None;
        }
        // One that keeps nothing in memory has read Redis by now.
        reader.phase = match (is_pending, memory && reader.old.is_none()) {
            (true, _) => Phase::Run,
            (false, true) => Phase::Get,
            (false, false) => Phase::Lease,
        };
        state.lead(number);
        match at_once {
            Some(old) if freshness.leaves && !is_pending => {
                state.answers(number, old);
                "takes what is old, and leads a flight"
            }
            _ => "leads a flight",
        }
    }

    /// F5, L1: what a run came to goes to Redis.
    fn store(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Reader(number);
        let reader = state.readers[number as usize];
        let mut after = *state;
        self.remove(state, number, steps);
        let Some(token) = reader.token else {
            self.land(&mut after, number, Keep::Unconfirmed);
            return steps.certain(who, "lands a run without a lease", after);
        };
        if reader.is_superseded {
            if after.release(token, false, self.broken) {
                self.confirm_by_release(&mut after, number);
            }
            after.readers[number as usize].phase = Phase::Land(Keep::No);
            return steps.certain(who, "RELEASE", after);
        }
        let (value, stamp) = (reader.value, self.stamp_to_store(&mut after, number));
        let is_stored = after.fill(token, value, stamp, self.broken);
        if is_stored {
            self.confirm_by_fill(&mut after, number);
        }
        let keep = if is_stored { Keep::Fully } else { Keep::No };
        after.readers[number as usize].phase = Phase::Land(keep);
        steps.certain(who, "FILL", after);
        if let Some(mut after) = state.failing(Some(Late::Fill { token, value, stamp })) {
            after.readers[number as usize].phase = Phase::Land(Keep::Fully);
            steps.chance(who, "FILL times out", after);
        }
    }

    /// Memory keeps what it may, and everybody returns.
    pub(super) fn land(&self, state: &mut State, number: u8, keep: Keep) {
        let Reader { process, value, age, is_superseded, is_outdated, is_old, .. } =
            state.readers[number as usize];
        let is_current = (!is_superseded && !is_outdated)
            || self.broken == Some(Broken::InsertWithoutGeneration);
        let may_store = is_current && !state.is_pending(process);
        let here = &mut state.processes[process as usize];
        let is_unconfirmed =
            keep == Keep::Unconfirmed && self.broken != Some(Broken::KeepsUnconfirmed);
        let is_over = keep == Keep::No || (is_unconfirmed && is_old) || age == Age::Past;
        if self.configuration.memory && may_store && !is_over {
            here.memory = Some(Entry { value, age, is_old, is_unconfirmed });
            if let Some(tag) = &mut state.tag {
                tag.processes[process as usize].as_of = tag.readings[number as usize].as_of;
            }
        }
        if here.flight == Some(number) {
            here.flight = None;
        }
        for follower in 0..state.readers.len() as u8 {
            if let Phase::Follow { leader, is_confirmed, is_trusted } =
                state.readers[follower as usize].phase
                && leader == number
            {
                if is_confirmed || (self.broken == Some(Broken::FollowersWithoutF5) && !is_trusted)
                {
                    state.returns(follower, value, Source::Redis);
                } else if is_trusted {
                    state.returns(follower, value, Source::Memory);
                } else {
                    state.readers[follower as usize].phase = Phase::Look;
                }
            }
        }
        if state.readers[number as usize].is_answered {
            return state.readers[number as usize].end(Phase::Done);
        }
        state.returns(number, value, Source::Redis);
    }

    /// F1: the future of a call is dropped.
    fn cancel_reader(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Reader(number);
        let mut gone = *state;
        gone.left.cancels -= 1;
        let reader = state.readers[number as usize];
        gone.readers[number as usize].end(Phase::Gone);
        if !reader.leads() {
            return steps.chance(who, "is cancelled", gone);
        }
        let here = &mut gone.processes[reader.process as usize];
        let followers = || {
            (0..state.readers.len() as u8)
                .filter(|other| state.readers[*other as usize].follows(number))
        };
        let is_joinable = here.flight == Some(number);
        if is_joinable {
            here.flight = None;
        }
        if followers().count() > 0 && !reader.is_superseded && !reader.is_outdated {
            if self.broken == Some(Broken::NoHandOver) {
                return steps.chance(who, "is cancelled", gone);
            }
            for next in followers() {
                let mut after = gone;
                for other in followers().filter(|other| *other != next) {
                    if let Phase::Follow { leader, .. } = &mut after.readers[other as usize].phase {
                        *leader = next;
                    }
                }
                let is_pending = state.is_pending(reader.process);
                let this = &mut after.readers[next as usize];
                let runs = reader.token.is_some() || is_pending;
                this.phase = match reader.phase {
                    Phase::Seed => Phase::Seed,
                    _ if runs => Phase::Run,
                    _ => Phase::Get,
                };
                after.lead(next);
                let this = &mut after.readers[next as usize];
                (this.token, this.ask) = (reader.token, Ask::Load);
                let keeps = reader.token.is_some() || self.broken == Some(Broken::HandsOldOver);
                let handed = reader.old.filter(|_| keeps);
                this.old = handed.map(|old| Old { is_own: false, ..old });
                if let Some(tag) = &mut after.tag {
                    let as_of = state.announced;
                    tag.readings[next as usize] =
                        Reading { as_of, ..tag.readings[number as usize] };
                }
                if !is_joinable {
                    after.processes[reader.process as usize].flight = None;
                }
                steps.chance(who, "is cancelled, and hands over", after);
            }
            return;
        }
        for other in followers() {
            gone.readers[other as usize].phase = Phase::Look;
        }
        // The lease is given back in the background, unless that is lost.
        let mut released = gone;
        let release = |token| released.release(token, false, self.broken);
        if reader.token.is_some_and(release) {
            steps.chance(who, "is cancelled, and RELEASEs", released);
        }
        steps.chance(who, "is cancelled", gone);
    }
}

impl State {
    /// What may be served as memory is, by its link or by its age, is not older than this.
    pub(super) fn trusted(&self, process: u8, is_proven: bool) -> u8 {
        let proven = self.processes[process as usize].proven;
        if is_proven { proven.max(self.floor) } else { self.floor }
    }

    pub(super) fn lead(&mut self, number: u8) {
        let reader = &mut self.readers[number as usize];
        reader.flights += 1;
        reader.token = None;
        reader.is_superseded = false;
        reader.is_outdated = false;
        reader.is_old = false;
        reader.is_answered = false;
        reader.age = Age::Fresh;
        reader.trusted = 0;
        self.processes[reader.process as usize].flight = Some(number);
        if let Some(tag) = &mut self.tag {
            tag.readings[number as usize].as_of = self.announced;
        }
    }

    /// A leader has waited, and reads anew: what came until now outdates nothing that it will have.
    fn look_anew(&mut self, number: u8) {
        let reader = self.readers[number as usize];
        let may_be_kept = !reader.is_superseded && !reader.is_outdated;
        if may_be_kept || self.is_pending(reader.process) {
            return;
        }
        let this = &mut self.readers[number as usize];
        this.is_superseded = false;
        this.is_outdated = false;
        self.processes[reader.process as usize].flight.get_or_insert(number);
    }

    /// A value that Redis has.
    pub(super) fn found(&mut self, number: u8, value: u8, age: Age) {
        self.confirm_followers(number);
        let reader = &mut self.readers[number as usize];
        reader.value = value;
        reader.age = age;
        reader.old = None;
        reader.is_old = false;
        reader.phase = Phase::Land(Keep::Fully);
    }

    /// What the leader has, or is about to get, is current for all that follow by now.
    pub(super) fn confirm_followers(&mut self, number: u8) {
        for reader in &mut self.readers {
            if let Phase::Follow { leader, is_confirmed, .. } = &mut reader.phase {
                *is_confirmed |= *leader == number;
            }
        }
    }

    pub(super) fn returns(&mut self, number: u8, value: u8, source: Source) {
        let reader = &mut self.readers[number as usize];
        if source == Source::Redis && value < reader.completed {
            self.broken = Some(Rule::D1);
        } else if value < reader.returned {
            self.broken = Some(Rule::Own);
        } else if (source == Source::Memory || self.tag.is_some()) && value < reader.trusted {
            self.broken = Some(Rule::Stale);
        }
        reader.end(Phase::Done);
    }
}
