//! Runs that come to nothing that is stored: who is served what is old then, and who removes it.

use super::{
    Add, Protocol, Rule, State, Steps, Who,
    freshness::{Age, Old},
    process::Message,
    reader::{Keep, Phase, Reader},
    redis::{Ask, End, Late, Token},
};
use crate::broken::Broken;

impl Protocol {
    /// The function has failed.
    pub(super) fn failed(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Reader(number);
        let mut after = *state;
        let Some(token) = state.readers[number as usize].token else {
            let what = self.fall_back(&mut after, number, false);
            return steps.certain(who, what, after);
        };
        after.readers[number as usize].token = None;
        // What is served from here on has to be current by now.
        after.readers[number as usize].trusted = state.completed;
        let mut unanswered = after;
        let old = state.readers[number as usize].old;
        let mut is_current = after.release(token, End::Failed, self.broken)
            && old.is_some_and(|old| self.has_current_stamp(state, old));
        if is_current {
            after.confirm_followers(number);
        }
        is_current |= self.broken == Some(Broken::OldWithoutRelease);
        after.readers[number as usize].phase = Phase::Fall { is_current };
        steps.certain(who, "RELEASE after an error", after);
        let late = Late::Release { token, end: End::Failed };
        unanswered.readers[number as usize].phase =
            Phase::Fall { is_current: self.broken == Some(Broken::OldWithoutRelease) };
        if let Some(after) = unanswered.failing(Some(late)) {
            steps.chance(who, "RELEASE after an error times out", after);
        }
    }

    /// L5: what everybody gets after an error.
    pub(super) fn fall_back(
        &self,
        state: &mut State,
        number: u8,
        is_current: bool,
    ) -> &'static str {
        let reader = state.readers[number as usize];
        let process = reader.process;
        let here = &mut state.processes[process as usize];
        if here.flight == Some(number) {
            here.flight = None;
        }
        let is_trusted = here.is_trusted || self.broken == Some(Broken::OldWithoutLink);
        let has_moved = reader.is_superseded || reader.is_outdated || state.is_pending(process);
        let is_valid = !has_moved || self.broken == Some(Broken::OldWithoutGeneration);
        let old = reader.old.filter(|_| is_current && is_valid && is_trusted);
        for follower in 0..state.readers.len() as u8 {
            let Phase::Follow { leader, is_confirmed, .. } = state.readers[follower as usize].phase
            else {
                continue;
            };
            if leader != number {
                continue;
            }
            let takes_old = is_confirmed || self.broken == Some(Broken::OldUnconfirmed);
            match old {
                Some(old) if takes_old => state.falls_back(follower, reader, old),
                Some(_) => state.readers[follower as usize].phase = Phase::Look,
                None => state.readers[follower as usize].end(Phase::Done),
            }
        }
        match (old, reader.old) {
            _ if reader.is_answered => state.readers[number as usize].end(Phase::Done),
            (Some(old), _) => state.falls_back(number, reader, old),
            // It was fresh when the caller came.
            (None, Some(old)) if reader.ask == Ask::Early => state.serve_old(number, old),
            (None, _) => state.readers[number as usize].end(Phase::Done),
        }
        if old.is_some() { "falls back on what is old" } else { "fails" }
    }

    /// What a run returned is not to be stored, and what it was to replace goes.
    pub(super) fn remove(&self, state: &State, number: u8, token: Token, steps: &mut Steps) {
        let who = Who::Reader(number);
        let Reader { process, value, .. } = state.readers[number as usize];
        let mut after = *state;
        let Some(left) = state.left.rejections.checked_sub(1) else { return };
        after.left.rejections = left;
        if self.broken != Some(Broken::RemembersReplaced) {
            after.processes[process as usize].memory = None;
        }
        after.readers[number as usize].phase = Phase::Land(Keep::No);
        after.readers[number as usize].token = None;
        let unanswered = after;
        if after.release(token, End::NotStored, self.broken) {
            self.confirm_by_release(&mut after, number);
            after.announced = after.announced.max(value);
            self.publish_removal(&mut after, process);
            after.completed = after.completed.max(value);
            let here = &mut after.processes[process as usize];
            here.returned = here.returned.max(value);
        }
        steps.certain(who, "RELEASE, and removes what is old", after);
        let late = Late::Release { token, end: End::NotStored };
        if let Some(after) = unanswered.failing(Some(late)) {
            steps.chance(who, "RELEASE times out", after);
        }
    }

    pub(super) fn publish_removal(&self, state: &mut State, process: u8) {
        if self.listens() && self.broken != Some(Broken::SilentRemoval) {
            state.publish(process, Message::Changed);
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
