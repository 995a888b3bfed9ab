//! Values that grow old: who makes them newer, and who is served what is old meanwhile or after an
//! error.

use super::{
    Add, Chances, Protocol, Rule, State, Steps, Who,
    process::Entry,
    reader::{Phase, Reader, Source},
    redis::{Ask, Leased, Stamp, Token},
};
use crate::{broken::Broken, configurations::Freshness};

/// How old a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Age {
    /// It is served.
    #[default]
    Fresh,
    /// It is served while somebody makes it newer.
    Stale,
    /// It is served after an error.
    ForErrors,
    /// It is not served any more. It stands in Redis only with the token of who makes it newer.
    Past,
}

/// Who makes a value newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Refresh {
    /// Nobody was told to.
    #[default]
    Nobody,
    /// This one.
    By(Token),
    /// This one, whose time is over: the next that asks does.
    Late(Token),
    /// Nobody may try again yet, after an error.
    Paused,
}

/// What a caller has found that is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Old {
    /// As of this version of the database.
    pub value: u8,
    /// How old it is.
    pub age: Age,
    /// What it carries; 0 for none.
    pub stamp: Stamp,
    /// Whether the caller has found it itself, and not who led the flight before.
    pub is_own: bool,
    /// Whether it was found in memory.
    pub is_remembered: bool,
    /// Where it is trusted as memory is: nothing older than this.
    pub trusted: u8,
}

impl Age {
    fn next(self, freshness: Freshness) -> Self {
        match self {
            Self::Fresh if freshness.is_stale => Self::Stale,
            Self::Fresh | Self::Stale if freshness.is_for_errors => Self::ForErrors,
            _ => Self::Past,
        }
    }

    fn coming(self) -> &'static str {
        match self {
            Self::Fresh | Self::Stale => "what was fresh is stale",
            Self::ForErrors => "what was fresh or stale is only for errors",
            Self::Past => "what is old is past its end",
        }
    }
}

impl Refresh {
    /// The token that stands in the value.
    pub(super) fn token(self) -> Option<Token> {
        match self {
            Self::By(token) | Self::Late(token) => Some(token),
            Self::Nobody | Self::Paused => None,
        }
    }
}

impl Old {
    pub(super) fn in_redis(value: u8, age: Age) -> Self {
        Self { value, age, stamp: 0, is_own: true, is_remembered: false, trusted: 0 }
    }

    pub(super) fn source(self) -> Source {
        if self.is_remembered { Source::Memory } else { Source::Redis }
    }
}

impl Reader {
    /// What it is served at once, while somebody makes it newer.
    pub(super) fn served_at_once(&self, freshness: Freshness) -> Option<Old> {
        let is_waiting = freshness.waits && self.ask != Ask::Early;
        self.old.filter(|old| old.age <= Age::Stale && !is_waiting)
    }
}

impl Protocol {
    /// Time passes for the values of one age, wherever they are.
    pub(super) fn aging_steps(&self, state: &State, steps: &mut Steps) {
        if state.left.agings > 0 {
            for age in [Age::Fresh, Age::Stale, Age::ForErrors] {
                let next = age.next(self.configuration.freshness);
                let mut after = *state;
                after.grow_older(age, next, self.broken);
                if after != *state {
                    after.left.agings -= 1;
                    steps.chance(Who::Time, next.coming(), after);
                }
            }
        }
        if matches!(state.key.refresh(), Refresh::By(_) | Refresh::Paused)
            && state.left.expiries > 0
        {
            let mut after = *state;
            after.left.expiries -= 1;
            after.key.end_refresh();
            after.told = Refresh::Nobody;
            steps.chance(Who::Redis, "the time of a refresh or a pause is over", after);
        }
    }

    /// GET of a caller that keeps nothing in memory.
    pub(super) fn get_alone(&self, state: &mut State, number: u8) {
        if let Some(tag) = state.tag {
            return self.get_tagged(state, tag, number, false);
        }
        let this = &mut state.readers[number as usize];
        this.phase = Phase::Begin;
        match state.key.found() {
            Some((value, Age::Fresh)) if this.ask == Ask::Load => {
                state.returns(number, value, Source::Redis);
            }
            found => this.old = found.map(|(value, age)| Old::in_redis(value, age)),
        }
    }

    /// GET of a leader.
    pub(super) fn got(&self, state: &mut State, number: u8) {
        let handed = state.readers[number as usize].old;
        match state.key.found() {
            Some((value, Age::Fresh)) => state.found(number, value, Age::Fresh),
            Some((value, age)) => {
                state.confirm_followers(number);
                self.found_old(state, number, Old::in_redis(value, age));
            }
            None => {
                state.readers[number as usize].phase = Phase::Lease;
                if let Some(old) = handed {
                    self.serve_meanwhile(state, number, old);
                }
            }
        }
    }

    /// A leader has found a value that somebody should make newer.
    pub(super) fn found_old(&self, state: &mut State, number: u8, old: Old) {
        let this = &mut state.readers[number as usize];
        (this.old, this.phase) = (Some(old), Phase::Lease);
        if self.configuration.memory {
            state.keep_old(number, old);
        }
        self.serve_meanwhile(state, number, old);
    }

    /// Before LEASE is asked: the load goes on without its caller, and without those who follow it.
    fn serve_meanwhile(&self, state: &mut State, number: u8, old: Old) {
        let freshness = self.configuration.freshness;
        let reader = state.readers[number as usize];
        let at_once = reader.served_at_once(freshness);
        if !freshness.leaves || reader.is_answered || at_once.is_none() {
            return;
        }
        for follower in 0..state.readers.len() as u8 {
            if let Phase::Follow { leader, is_confirmed, is_trusted } =
                state.readers[follower as usize].phase
                && leader == number
                && (is_confirmed || is_trusted)
            {
                let source = if is_confirmed { Source::Redis } else { Source::Memory };
                state.returns(follower, old.value, source);
            }
        }
        state.answers(number, old);
    }

    /// LEASE has said that it runs the function. If no value stays meanwhile, nobody vouches for what
    /// was found before.
    pub(super) fn elected(&self, state: &mut State, number: u8, is_refresh: bool) {
        if !is_refresh && self.broken != Some(Broken::OldThoughGone) {
            state.readers[number as usize].old = None;
        }
    }

    /// `max_wait`: whether a leader waits for the run of another process, though it may have the old value.
    pub(super) fn waits_for_new(&self, state: &State) -> bool {
        self.configuration.freshness.waits && state.key.runner().is_some()
    }

    /// `max_wait`: a caller takes what it has found itself.
    pub(super) fn impatience(&self, state: &State, number: u8, steps: &mut Steps) {
        let reader = state.readers[number as usize];
        let may_take = |old: &Old| old.is_own || self.broken == Some(Broken::TakesAnothersOld);
        let is_waiting = self.configuration.freshness.waits;
        let Some(old) = reader.old.filter(may_take).filter(|_| is_waiting) else { return };
        let mut after = *state;
        if let Phase::Follow { .. } = reader.phase {
            after.serve_old(number, old);
        } else if reader.leads() && !reader.is_answered {
            after.answers(number, old);
        } else {
            return;
        }
        steps.certain(Who::Reader(number), "has waited long enough, and takes what is old", after);
    }
}

impl State {
    /// LEASE has answered: what it says is what it has said to others.
    pub(super) fn judge_lease(&mut self, token: Token, ask: Ask, leased: Leased) {
        let standing = match (leased, self.key.refresh()) {
            (Leased::Busy(other), _) | (Leased::Found(..), Refresh::By(other)) => Some(other),
            _ => None,
        };
        if standing.is_some_and(|other| self.told != Refresh::By(other)) {
            self.broken = Some(Rule::Idle);
        }
        if matches!(leased, Leased::Found(_, Age::ForErrors)) && self.told != Refresh::Paused {
            self.broken = Some(Rule::Life);
        }
        if let Leased::Granted { .. } = leased {
            match self.told {
                Refresh::By(other) if other != token && ask != Ask::Refresh => {
                    self.broken = Some(Rule::L1);
                }
                Refresh::Paused if ask != Ask::Refresh => self.broken = Some(Rule::Pause),
                _ => {}
            }
            self.told = Refresh::By(token);
        }
    }

    /// A writer has changed the entry, and with it went whoever ran the function for it.
    pub(super) fn forget_told(&mut self) {
        if !self.key.is_run_for() {
            self.told = Refresh::Nobody;
        }
    }

    /// RELEASE. Whether the token was found.
    pub(super) fn release(&mut self, token: Token, failed: bool, broken: Option<Broken>) -> bool {
        let stays = self.key.found().is_some();
        let is_found = self.key.release(token, failed, broken);
        if is_found {
            self.told = if stays && failed { Refresh::Paused } else { Refresh::Nobody };
        }
        is_found
    }

    /// Time passes for the values of this age.
    fn grow_older(&mut self, from: Age, to: Age, broken: Option<Broken>) {
        let is_past = to == Age::Past;
        self.key.grow_older(from, to, broken);
        if is_past && self.told == Refresh::Paused && self.key.found().is_none() {
            self.told = Refresh::Nobody;
        }
        for process in &mut self.processes {
            if let Some(entry) = process.memory.as_mut().filter(|entry| entry.age == from) {
                entry.age = to;
            }
            let keeps_past = broken == Some(Broken::MemoryWithoutEnd);
            process.memory = process.memory.filter(|entry| entry.age != Age::Past || keeps_past);
        }
        if let Some(tag) = &mut self.tag {
            let seen = tag.readings.iter_mut().filter_map(|reading| reading.seen.as_mut());
            seen.filter(|seen| seen.age == from).for_each(|seen| seen.age = to);
        }
        for reader in &mut self.readers {
            if let Some(old) = reader.old.as_mut().filter(|old| old.age == from) {
                old.age = to;
            }
            let keeps_past = broken == Some(Broken::OldWithoutEnd);
            reader.old = reader.old.filter(|old| old.age != Age::Past || keeps_past);
            if matches!(reader.phase, Phase::Land(_)) && reader.age == from {
                reader.age = to;
            }
        }
    }

    /// F3: what is under way is joined by nobody else, and stores nothing.
    pub(super) fn begin_refresh(&mut self, number: u8) {
        let process = self.readers[number as usize].process;
        self.supersede(process);
        self.lead(number);
        let is_pending = self.is_pending(process);
        let this = &mut self.readers[number as usize];
        this.ask = Ask::Refresh;
        this.phase = if is_pending { Phase::Run } else { Phase::Lease };
    }

    /// Memory keeps what a leader has found in Redis, before it asks who makes it newer.
    pub(super) fn keep_old(&mut self, number: u8, old: Old) {
        let Reader { process, is_superseded, is_outdated, .. } = self.readers[number as usize];
        if is_superseded || is_outdated || self.is_pending(process) {
            return;
        }
        let is_old = self.tag.is_some_and(|tag| tag.readings[number as usize].is_old);
        let entry = Entry { value: old.value, age: old.age, is_old, is_unconfirmed: false };
        self.processes[process as usize].memory = Some(entry);
        if let Some(tag) = &mut self.tag {
            tag.processes[process as usize].as_of = tag.readings[number as usize].as_of;
        }
    }

    /// States that differ in nothing but what nobody looks at any more are one.
    pub(super) fn tidy_old(&mut self, freshness: Freshness, broken: Option<Broken>) {
        let Chances { errors, cancels, .. } = self.left;
        for reader in &mut self.readers {
            let is_needed = match reader.phase {
                Phase::Begin | Phase::Lease | Phase::Failed | Phase::ReadAgain | Phase::Fall => {
                    true
                }
                Phase::Seed | Phase::Run => errors > 0 || freshness.waits,
                Phase::Get => freshness.waits || broken == Some(Broken::HandsOldOver),
                Phase::Follow { .. } | Phase::Wait(_) => freshness.waits,
                Phase::Ran | Phase::Land(_) => freshness.waits || (errors > 0 && cancels > 0),
                _ => false,
            };
            if !is_needed {
                reader.old = None;
            }
            let is_asked = matches!(
                reader.phase,
                Phase::Begin
                    | Phase::Lease
                    | Phase::Get
                    | Phase::Wait(_)
                    | Phase::Reread { .. }
                    | Phase::Judge { .. }
            );
            if !is_asked {
                reader.ask = Ask::Load;
            }
        }
    }

    /// A caller has its answer, and leads on.
    pub(super) fn answers(&mut self, number: u8, old: Old) {
        let reader = self.readers[number as usize];
        self.serve_old(number, old);
        self.readers[number as usize] =
            Reader { is_answered: true, completed: 0, returned: 0, trusted: 0, ..reader };
    }

    /// A caller gets what it has found itself.
    pub(super) fn serve_old(&mut self, number: u8, old: Old) {
        self.readers[number as usize].trusted = old.trusted;
        self.returns(number, old.value, old.source());
        if old.age == Age::Past {
            self.broken = Some(Rule::Life);
        }
    }
}
