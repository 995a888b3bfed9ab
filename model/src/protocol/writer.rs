//! A caller that changes the database, and what it does about the cache.

use super::{
    Add, Broken, Protocol, State, Steps, Who,
    freshness::{Age, Refresh},
    process::{Changes, Entry},
    redis::{Key, Late},
};
use crate::configurations::Tagged;

/// One writer.
#[allow(clippy::struct_excessive_bools, reason = "what is known of it, each by itself")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Writer {
    /// Where it runs.
    pub process: u8,
    /// How it changes the entry.
    pub change: Change,
    /// What it does next.
    pub phase: Phase,
    /// The version that it has committed, or puts; 0 before.
    pub version: u8,
    /// Of its invalidation, among those of its process.
    pub number: u8,
    /// Whether HOLD was answered before its body began.
    pub is_confirmed: bool,
    /// Whether `max_staleness` has passed since it has sent SETTLE; with a tag: since it has sent HOLD.
    pub is_old: bool,
    /// Whether its hold was sent and has not expired since.
    pub is_held: bool,
    /// Whether that was so when it committed: then a crash is covered.
    pub is_covered: bool,
    /// Whether Redis and all links have heard of what it has changed.
    pub is_announced: bool,
}

/// How a writer changes the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Change {
    /// A body, then INVALIDATE.
    #[default]
    Invalidate,
    /// HOLD, a body, SETTLE.
    Hold,
    /// The same, with the value that the body returned.
    Update,
    /// The same, with nothing between.
    Put,
    /// A body, then INVALIDATE of the tag.
    Bump,
    /// HOLD of the tag, a body, SETTLE of the tag.
    HoldTag,
}

/// What a writer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "said by the names")]
pub enum Phase {
    /// There is no such writer.
    #[default]
    Nobody,
    Call,
    Hold,
    Body,
    /// The database has it.
    Changed,
    /// The key is pending: INVALIDATE or SETTLE comes next.
    Pending,
    /// Redis has answered.
    Sent {
        alone: bool,
    },
    /// It did not land: the repairs have it.
    Owed,
    /// They have sent it.
    Repaired,
    Done,
    /// Its process is gone.
    Gone,
}

impl Change {
    pub(super) fn is_of_tag(self) -> bool {
        matches!(self, Self::Bump | Self::HoldTag)
    }

    fn holds(self) -> bool {
        !matches!(self, Self::Invalidate | Self::Bump)
    }

    pub(super) fn has_value(self) -> bool {
        matches!(self, Self::Update | Self::Put)
    }
}

impl Writer {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Nobody | Phase::Done | Phase::Gone)
    }

    /// Whether it has sent SETTLE, and waits for the answer.
    pub(super) fn has_settled(&self) -> bool {
        self.change.holds() && matches!(self.phase, Phase::Sent { .. })
    }

    /// Whether it has a value by a HOLD that was answered.
    pub(super) fn has_held(&self) -> bool {
        self.is_confirmed
            && self.change.has_value()
            && matches!(self.phase, Phase::Body | Phase::Changed | Phase::Pending)
    }

    /// Whether the caller has its answer, or is gone.
    pub(super) fn has_returned(&self) -> bool {
        self.is_done() || matches!(self.phase, Phase::Owed | Phase::Repaired)
    }
}

impl Protocol {
    pub(super) fn writer_steps(&self, state: &State, number: u8, steps: &mut Steps) {
        let writer = state.writers[number as usize];
        if writer.is_done() {
            return;
        }
        let who = Who::Writer(number);
        let mut after = *state;
        let this = &mut after.writers[number as usize];
        match writer.phase {
            Phase::Call => {
                let is_like = |other: &Writer| *other == writer;
                if state.writers[..number as usize].iter().any(is_like) {
                    return;
                }
                if writer.change.holds() {
                    this.phase = Phase::Hold;
                    self.bump(&mut after, number);
                    after.changes_of(number).holds += 1;
                    steps.certain(who, "begins to hold", after);
                } else {
                    after.commit(number);
                    steps.certain(who, "commits", after);
                }
                return;
            }
            Phase::Hold => self.hold(state, number, steps),
            Phase::Body => {
                after.commit(number);
                steps.certain(who, "commits", after);
            }
            Phase::Changed => {
                this.phase = Phase::Pending;
                if !writer.change.holds() {
                    self.suspend(&mut after, number);
                } else if ![Some(Broken::NoBumpBeforeSettle), Some(Broken::OneBump)]
                    .contains(&self.broken)
                {
                    self.bump_alone(&mut after, number);
                }
                steps.certain(who, "outdates what is here", after);
            }
            Phase::Pending if !writer.change.holds() => {
                self.invalidate(&mut after, number);
                after.writers[number as usize].phase = Phase::Sent { alone: false };
                steps.certain(who, "INVALIDATE", after);
                let late = Late::Invalidate { writer: number };
                if let Some(mut after) = state.failing(Some(late)) {
                    self.owe(&mut after, number);
                    steps.chance(who, "INVALIDATE times out", after);
                }
            }
            Phase::Pending => {
                self.read_stamp_for_settle(&mut after, number);
                let value = after.value_of(number, self.broken);
                let unanswered = after;
                let alone = self.settle(&mut after, number, value);
                after.writers[number as usize].phase = Phase::Sent { alone };
                steps.certain(who, "SETTLE", after);
                if let Some(mut after) =
                    unanswered.failing(Some(Late::Settle { writer: number, value }))
                {
                    self.owe(&mut after, number);
                    steps.chance(who, "SETTLE times out", after);
                }
            }
            Phase::Sent { alone } => {
                self.confirm(&mut after, number, alone);
                steps.certain(who, "returns", after);
            }
            Phase::Owed => {
                self.repair(&mut after, number);
                steps.certain(who, "is repaired", after);
                let late = match writer.change {
                    Change::Invalidate | Change::Bump => Late::Invalidate { writer: number },
                    _ => Late::Settle { writer: number, value: None },
                };
                if let Some(after) = state.failing(Some(late)) {
                    steps.chance(who, "a repair times out", after);
                }
            }
            Phase::Repaired => {
                self.confirm_number(&mut after, number);
                steps.certain(who, "hears of its repair", after);
            }
            Phase::Nobody | Phase::Done | Phase::Gone => {}
        }
        self.renewals(state, number, steps);
        if state.left.cancels > 0 && !writer.has_returned() {
            let mut after = *state;
            after.left.cancels -= 1;
            self.owe(&mut after, number);
            steps.chance(who, "is cancelled", after);
        }
    }

    /// I2: before the body.
    fn hold(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Writer(number);
        let is_put = state.writers[number as usize].change == Change::Put;
        // What is put is the newest value, or is outdated by a change that is still to be announced.
        let oldest = if is_put { state.announced } else { state.db };
        for value in oldest..=state.db {
            let mut after = *state;
            self.execute(&mut after, Late::Hold { writer: number });
            self.read_stamp_of_update(&mut after, number);
            let this = &mut after.writers[number as usize];
            this.is_confirmed = true;
            this.is_held = true;
            this.is_covered = true;
            this.phase = if is_put { Phase::Changed } else { Phase::Body };
            if is_put {
                this.version = value;
            }
            steps.certain(who, "HOLD", after);
            let late = Late::Hold { writer: number };
            if let Some(mut after) = state.failing(Some(late)) {
                let this = &mut after.writers[number as usize];
                this.phase = if is_put { Phase::Changed } else { Phase::Body };
                if is_put {
                    this.version = value;
                }
                steps.chance(who, "HOLD times out", after);
            }
        }
    }

    /// I2: a hold lasts on while its body runs.
    fn renewals(&self, state: &State, number: u8, steps: &mut Steps) {
        let writer = state.writers[number as usize];
        if !writer.is_confirmed
            || !matches!(writer.phase, Phase::Body | Phase::Changed | Phase::Pending)
        {
            return;
        }
        let who = Who::Writer(number);
        let renewal = Late::Renew { writer: number };
        if !state.has_hold(number) {
            let mut after = *state;
            self.execute(&mut after, renewal);
            after.writers[number as usize].is_held = true;
            // Not certain: the body may be faster.
            steps.chance(who, "renews a lost hold", after);
        }
        if let Some(after) = state.failing(Some(renewal))
            && !state.late.contains(&Some(renewal))
        {
            steps.chance(who, "a renewal times out", after);
        }
    }

    /// P2: before anything is sent.
    fn suspend(&self, state: &mut State, number: u8) {
        let is_of_tag = state.writers[number as usize].change.is_of_tag();
        let no_pending = if is_of_tag { Broken::NoPendingTag } else { Broken::NoPending };
        let changes = state.changes_of(number);
        changes.begun += 1;
        let begun = changes.begun;
        if self.broken != Some(no_pending) {
            changes.newest = begun;
        }
        state.writers[number as usize].number = begun;
        if self.broken != Some(Broken::OneBumpAfter) {
            self.bump(state, number);
        }
    }

    /// P1: of the slot of the key, or of the tag.
    fn bump(&self, state: &mut State, number: u8) {
        let Writer { process, change, .. } = state.writers[number as usize];
        if change.is_of_tag() {
            state.bump_tag(process, self.broken);
        } else {
            state.bump(process);
        }
    }

    /// The same, when a change has landed.
    fn bump_again(&self, state: &mut State, number: u8) {
        let is_of_tag = state.writers[number as usize].change.is_of_tag();
        let one_bump = if is_of_tag { Broken::OneBumpOfTag } else { Broken::OneBump };
        if self.broken != Some(one_bump) {
            self.bump(state, number);
        }
    }

    /// The same, which makes a writer of the key no less alone.
    fn bump_alone(&self, state: &mut State, number: u8) {
        let Writer { process, change, .. } = state.writers[number as usize];
        let contended = state.processes[process as usize].contended;
        self.bump(state, number);
        if !change.is_of_tag() {
            state.processes[process as usize].contended = contended;
        }
    }

    /// P2: Redis has answered.
    fn confirm(&self, state: &mut State, number: u8, alone: bool) {
        let writer = state.writers[number as usize];
        if !writer.change.holds() {
            return self.confirm_number(state, number);
        }
        let is_alone = state.end_hold(number);
        self.bump_again(state, number);
        let is_current = alone && is_alone && state.value_of(number, self.broken).is_some();
        if self.configuration.memory && is_current {
            let is_old = writer.is_old && self.broken != Some(Broken::LateUpdate);
            let (value, age) = (writer.version, Age::Fresh);
            let entry = Entry { value, age, is_old, is_unconfirmed: false };
            state.processes[writer.process as usize].memory = Some(entry);
            if let Some(tag) = &mut state.tag {
                let as_of = tag.updates[number as usize].as_of;
                tag.processes[writer.process as usize].as_of = as_of;
            }
        }
        self.complete(state, number);
    }

    fn confirm_number(&self, state: &mut State, number: u8) {
        let writer = state.writers[number as usize];
        let changes = state.changes_of(number);
        // One that was sent later makes up for those that failed before.
        if changes.newest <= writer.number {
            changes.newest = 0;
        }
        self.bump_again(state, number);
        self.complete(state, number);
    }

    /// P3, I6: whatever became of it, it is an invalidation that has not landed.
    fn owe(&self, state: &mut State, number: u8) {
        let writer = state.writers[number as usize];
        let process = writer.process;
        let is_holding = writer.change.holds();
        if is_holding || writer.phase == Phase::Changed {
            self.suspend(state, number);
        }
        if is_holding {
            state.end_hold(number);
        }
        let here = &mut state.processes[process as usize];
        here.returned = here.returned.max(writer.version);
        state.writers[number as usize].phase = Phase::Owed;
        state.writers[number as usize].is_old = false;
    }

    fn repair(&self, state: &mut State, number: u8) {
        let writer = state.writers[number as usize];
        let value = Some(writer.version).filter(|_| self.broken == Some(Broken::ReplayedPut));
        match (writer.change, value) {
            (Change::Invalidate | Change::Bump, _) => self.invalidate(state, number),
            (_, None) => {
                self.settle(state, number, None);
            }
            (_, Some(value)) => {
                state.key = Key::Value(value);
                state.told = Refresh::Nobody;
                self.publish(state, number, 0);
                state.announce(number);
            }
        }
        state.writers[number as usize].phase = Phase::Repaired;
    }

    fn invalidate(&self, state: &mut State, number: u8) {
        self.execute(state, Late::Invalidate { writer: number });
    }

    fn settle(&self, state: &mut State, number: u8, value: Option<u8>) -> bool {
        self.execute(state, Late::Settle { writer: number, value })
    }
}

impl State {
    /// I3: what SETTLE stores. Without an answer to HOLD nobody knows what came before it.
    fn value_of(&self, number: u8, broken: Option<Broken>) -> Option<u8> {
        let writer = &self.writers[number as usize];
        let may_store = writer.is_confirmed || broken == Some(Broken::ValueWithoutHold);
        let has_stamp = self.tag.is_none_or(|tag| tag.updates[number as usize].stamp != 0);
        (writer.change.has_value() && may_store && has_stamp).then_some(writer.version)
    }

    fn changes_of(&mut self, number: u8) -> &mut Changes {
        let Writer { process, change, .. } = self.writers[number as usize];
        match &mut self.tag {
            Some(tag) if change.is_of_tag() => &mut tag.processes[process as usize].changes,
            _ => &mut self.processes[process as usize].changes,
        }
    }

    fn commit(&mut self, number: u8) {
        self.db += 1;
        let writer = &mut self.writers[number as usize];
        writer.version = self.db;
        writer.is_covered = writer.is_held;
        writer.phase = Phase::Changed;
    }

    /// What a writer has changed is known by now to Redis, and on its way to the others.
    pub(super) fn announce(&mut self, number: u8) {
        let writer = &mut self.writers[number as usize];
        writer.is_announced = true;
        self.announced = self.announced.max(writer.version);
    }

    /// Whether nothing else has changed the entry since the hold began.
    fn end_hold(&mut self, number: u8) -> bool {
        let process = self.writers[number as usize].process;
        self.changes_of(number).holds -= 1;
        let is_pending = self.is_pending(process);
        let here = &mut self.processes[process as usize];
        let is_alone = !is_pending && !here.contended;
        here.contended &= here.changes.holds > 0;
        is_alone
    }
}

impl Protocol {
    pub(super) fn complete(&self, state: &mut State, number: u8) {
        let writer = &mut state.writers[number as usize];
        let Writer { version, change, .. } = *writer;
        writer.phase = Phase::Done;
        writer.is_held = false;
        writer.is_confirmed = false;
        writer.is_old = false;
        writer.number = 0;
        let here = &mut state.processes[writer.process as usize];
        here.returned = here.returned.max(version);
        if !change.is_of_tag() || self.configuration.tagged == Tagged::Strictly {
            state.completed = state.completed.max(version);
        }
    }
}
