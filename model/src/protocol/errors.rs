//! Runs that come to nothing that is stored: who is served what is old then, and what becomes of it.

use super::{
    Add, Protocol, Rule, State, Steps, WRITERS, Who, Writer,
    freshness::{Age, Old},
    reader::{Keep, Phase, Reader, Source},
    redis::Late,
    writer,
};
use crate::broken::Broken;

impl Protocol {
    /// The function has failed.
    pub(super) fn failed(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Reader(number);
        let mut after = *state;
        let this = &mut after.readers[number as usize];
        this.phase = Phase::Fall;
        let Some(token) = this.token.take() else {
            this.old = None;
            let what = self.fall_back(&mut after, number);
            return steps.certain(who, what, after);
        };
        // What is served from here on has to be current by now.
        this.trusted = state.completed;
        let mut unanswered = after;
        let is_found = after.release(token, true, self.broken);
        let this = &mut after.readers[number as usize];
        if is_found && state.has_stamp_of_lease(number) && this.old.is_some() {
            if !self.serves_what_was_found() {
                this.phase = Phase::ReadAgain;
            }
            after.confirm_followers(number);
        } else if self.broken != Some(Broken::OldWithoutRelease) {
            this.old = None;
        }
        steps.certain(who, "RELEASE after an error", after);
        if self.broken != Some(Broken::OldWithoutRelease) {
            unanswered.readers[number as usize].old = None;
        }
        if let Some(after) = unanswered.failing(Some(Late::Release { token, failed: true })) {
            steps.chance(who, "RELEASE after an error times out", after);
        }
    }

    /// What was found before the run may not be what stands there, and be dead by now.
    fn serves_what_was_found(&self) -> bool {
        use Broken::{
            OldOfAnother, OldOfOldStamps, OldThoughGone, OldWithoutLink, OldWithoutRelease,
        };
        [OldOfAnother, OldOfOldStamps, OldThoughGone, OldWithoutLink, OldWithoutRelease]
            .map(Some)
            .contains(&self.broken)
    }

    /// GET, and the stamp behind it.
    pub(super) fn read_again(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Reader(number);
        let mut after = *state;
        let this = &mut after.readers[number as usize];
        (this.old, this.phase) = (self.standing(state), Phase::Fall);
        this.trusted = state.completed;
        steps.certain(who, "reads what stands there", after);
        if let Some(mut after) = state.failing(None) {
            let this = &mut after.readers[number as usize];
            (this.old, this.phase) = (None, Phase::Fall);
            steps.chance(who, "fails to read what stands there", after);
        }
    }

    /// L5: what everybody gets after an error.
    pub(super) fn fall_back(&self, state: &mut State, number: u8) -> &'static str {
        let reader = state.readers[number as usize];
        let process = reader.process;
        let here = &mut state.processes[process as usize];
        if here.flight == Some(number) {
            here.flight = None;
        }
        let is_trusted = here.is_trusted || self.broken == Some(Broken::OldWithoutLink);
        let has_moved = reader.is_superseded || reader.is_outdated || state.is_pending(process);
        let is_valid = !has_moved || self.broken == Some(Broken::OldWithoutGeneration);
        let old = reader.old.filter(|_| is_valid && is_trusted);
        for follower in 0..state.readers.len() as u8 {
            let Phase::Follow { leader, is_confirmed, is_trusted } =
                state.readers[follower as usize].phase
            else {
                continue;
            };
            if leader != number {
                continue;
            }
            match old {
                Some(old) if is_confirmed || self.broken == Some(Broken::OldUnconfirmed) => {
                    state.falls_back(follower, reader, old);
                }
                Some(old) if is_trusted => state.returns(follower, old.value, Source::Memory),
                Some(_) => state.readers[follower as usize].phase = Phase::Look,
                None => state.readers[follower as usize].end(Phase::Done),
            }
        }
        match old {
            _ if reader.is_answered => state.readers[number as usize].end(Phase::Done),
            Some(old) => state.falls_back(number, reader, old),
            None => state.readers[number as usize].end(Phase::Done),
        }
        if old.is_some() { "falls back on what is old" } else { "fails" }
    }

    /// What a run returned is not to be stored, and what it was to replace goes: that is an
    /// invalidation of its own.
    pub(super) fn remove(&self, state: &State, number: u8, steps: &mut Steps) {
        let Some(left) = state.left.rejections.checked_sub(1) else { return };
        let Reader { process, value, token, .. } = state.readers[number as usize];
        let mut after = *state;
        after.left.rejections = left;
        self.land(&mut after, number, Keep::No);
        let by = WRITERS as u8 - 1;
        let phase = writer::Phase::Changed;
        after.writers[by as usize] = Writer { process, phase, version: value, ..Writer::default() };
        if self.broken == Some(Broken::KeepsReplaced) {
            self.complete(&mut after, by);
        }
        let what = "lands what is not to be stored";
        steps.certain(Who::Reader(number), what, after);
        // The lease is given back in the background, before or after.
        if token.is_some_and(|token| after.release(token, false, self.broken)) {
            steps.certain(Who::Reader(number), what, after);
        }
    }
}

impl State {
    /// A caller gets what a leader has found, after an error.
    fn falls_back(&mut self, number: u8, leader: Reader, old: Old) {
        let here = &self.processes[leader.process as usize];
        // Of tags, memory knows what it has heard.
        let is_exact = !old.is_remembered || self.tag.is_none();
        let is_revived = old.value < here.returned || (is_exact && old.value < leader.trusted);
        let trusted = self.trusted(leader.process, here.is_trusted);
        self.readers[number as usize].trusted = if old.is_remembered { trusted } else { 0 };
        self.returns(number, old.value, old.source());
        if is_revived {
            self.broken = Some(Rule::L5);
        } else if old.age == Age::Past {
            self.broken = Some(Rule::Life);
        }
    }
}
