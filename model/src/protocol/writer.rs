//! A caller that changes the database, and what it does about the cache.

use super::{
    Add, Broken, Protocol, State, Steps, Who,
    process::Entry,
    redis::{Key, Late},
};

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
    /// Whether `max_staleness` has passed since it has sent SETTLE.
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

impl Writer {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Nobody | Phase::Done | Phase::Gone)
    }

    /// Whether it has sent SETTLE, and waits for the answer.
    pub(super) fn has_settled(&self) -> bool {
        self.change != Change::Invalidate && matches!(self.phase, Phase::Sent { .. })
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
        let process = writer.process;
        let mut after = *state;
        let this = &mut after.writers[number as usize];
        match writer.phase {
            Phase::Call => {
                let is_like = |other: &Writer| *other == writer;
                if state.writers[..number as usize].iter().any(is_like) {
                    return;
                }
                if writer.change == Change::Invalidate {
                    after.commit(number);
                    steps.certain(who, "commits", after);
                } else {
                    this.phase = Phase::Hold;
                    after.bump(process);
                    after.processes[process as usize].changes.holds += 1;
                    steps.certain(who, "begins to hold", after);
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
                if writer.change == Change::Invalidate {
                    self.suspend(&mut after, number);
                } else if ![Some(Broken::NoBumpBeforeSettle), Some(Broken::OneBump)]
                    .contains(&self.broken)
                {
                    after.bump_alone(process);
                }
                steps.certain(who, "outdates what is here", after);
            }
            Phase::Pending if writer.change == Change::Invalidate => {
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
                let value = writer.value(self.broken);
                let alone = self.settle(&mut after, number, value);
                after.writers[number as usize].phase = Phase::Sent { alone };
                steps.certain(who, "SETTLE", after);
                if let Some(mut after) = state.failing(Some(Late::Settle { writer: number, value }))
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
                    Change::Invalidate => Late::Invalidate { writer: number },
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
        if !state.key.has_hold_of(number) {
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
        let writer = &mut state.writers[number as usize];
        let process = writer.process;
        let changes = &mut state.processes[process as usize].changes;
        changes.begun += 1;
        writer.number = changes.begun;
        if self.broken != Some(Broken::NoPending) {
            changes.newest = changes.begun;
        }
        if self.broken != Some(Broken::OneBumpAfter) {
            state.bump(process);
        }
    }

    /// P2: Redis has answered.
    fn confirm(&self, state: &mut State, number: u8, alone: bool) {
        let writer = state.writers[number as usize];
        if writer.change == Change::Invalidate {
            return self.confirm_number(state, number);
        }
        let is_alone = state.end_hold(writer.process);
        if self.broken != Some(Broken::OneBump) {
            state.bump(writer.process);
        }
        let is_current = alone && is_alone && writer.value(self.broken).is_some();
        if self.configuration.memory && is_current {
            let is_old = writer.is_old && self.broken != Some(Broken::LateUpdate);
            let entry = Entry { value: writer.version, is_old, is_unconfirmed: false };
            state.processes[writer.process as usize].memory = Some(entry);
        }
        state.complete(number);
    }

    fn confirm_number(&self, state: &mut State, number: u8) {
        let writer = state.writers[number as usize];
        let changes = &mut state.processes[writer.process as usize].changes;
        // One that was sent later makes up for those that failed before.
        if changes.newest <= writer.number {
            changes.newest = 0;
        }
        if self.broken != Some(Broken::OneBump) {
            state.bump(writer.process);
        }
        state.complete(number);
    }

    /// P3, I6: whatever became of it, it is an invalidation that has not landed.
    fn owe(&self, state: &mut State, number: u8) {
        let writer = state.writers[number as usize];
        let process = writer.process;
        let is_holding = writer.change != Change::Invalidate;
        if is_holding || writer.phase == Phase::Changed {
            self.suspend(state, number);
        }
        if is_holding {
            state.end_hold(process);
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
            (Change::Invalidate, _) => self.invalidate(state, number),
            (_, None) => {
                self.settle(state, number, None);
            }
            (_, Some(value)) => {
                state.key = Key::Value(value);
                self.publish(state, writer.process);
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

impl Writer {
    /// I3: what SETTLE stores. Without an answer to HOLD nobody knows what came before it.
    fn value(&self, broken: Option<Broken>) -> Option<u8> {
        let has_value = matches!(self.change, Change::Update | Change::Put);
        let may_store = self.is_confirmed || broken == Some(Broken::ValueWithoutHold);
        (has_value && may_store).then_some(self.version)
    }
}

impl State {
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

    /// Outdates what is here, which makes the writer no less alone.
    fn bump_alone(&mut self, process: u8) {
        let contended = self.processes[process as usize].contended;
        self.bump(process);
        self.processes[process as usize].contended = contended;
    }

    /// Whether nothing else has changed the key since the hold began.
    fn end_hold(&mut self, process: u8) -> bool {
        let here = &mut self.processes[process as usize];
        here.changes.holds -= 1;
        let is_alone = !here.changes.is_pending() && !here.contended;
        here.contended &= here.changes.holds > 0;
        is_alone
    }

    fn complete(&mut self, number: u8) {
        let writer = &mut self.writers[number as usize];
        let version = writer.version;
        writer.phase = Phase::Done;
        writer.is_held = false;
        writer.is_confirmed = false;
        writer.is_old = false;
        writer.number = 0;
        let here = &mut self.processes[writer.process as usize];
        here.returned = here.returned.max(version);
        self.completed = self.completed.max(version);
    }
}
