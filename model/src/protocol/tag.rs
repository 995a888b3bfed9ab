//! The tag of an entry: its stamp in Redis, what a value carries of it, and what processes know of it.

use super::{
    Add, Broken, Protocol, READERS, State, Steps, WRITERS, Who,
    freshness::{Age, Old, Refresh},
    process::Changes,
    reader::{Keep, Phase, Source},
    redis::{Ask, Key, Late, Leased, Seen, Stamp, Token},
    writer,
};
use crate::configurations::{Configuration, Tagged};

/// All there is of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tag {
    /// What stands in its key: a stamp, as a value does in an entry's.
    pub key: Key,
    /// The stamp that the value in Redis carries.
    pub carried: Stamp,
    /// What each process knows of it.
    pub processes: [Here; 2],
    /// What each reader has read of it.
    pub readings: [Reading; READERS],
    /// What HOLD has read on its way, for each writer of a value.
    pub updates: [Update; WRITERS],
}

/// What a process knows of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Here {
    /// What its writers do to the tag.
    pub changes: Changes,
    /// The stamp, as it was read. Dropped with each bump of the tag's slot.
    pub local: Option<Local>,
    /// Of the entry in memory: what had been announced at the moment from which its age is counted.
    pub as_of: u8,
}

/// A stamp in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Local {
    /// The stamp.
    pub stamp: Stamp,
    /// Whether `max_staleness` has passed since it was read.
    pub is_old: bool,
    /// What had been announced by then.
    pub as_of: u8,
}

/// What a reader has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reading {
    /// A value that is to be judged, or was rejected.
    pub seen: Option<Seen>,
    /// The stamp that Redis had; 0 for none.
    pub stamp: Stamp,
    /// Whether the tag's slot has moved since that was asked for.
    pub is_moved: bool,
    /// Whether `max_staleness` has passed since.
    pub is_old: bool,
    /// What had been announced by then. Of a leader: at the moment from which its age is counted.
    pub as_of: u8,
}

/// What a value of a writer is to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Update {
    /// The stamp; 0 for none.
    pub stamp: Stamp,
    /// What had been announced at the moment from which the age of the value is counted.
    pub as_of: u8,
}

impl Tag {
    pub(super) fn initial(configuration: Configuration) -> Option<Self> {
        let Configuration { tagged, stored, .. } = configuration;
        let mut tag = Self::default();
        if stored {
            (tag.key, tag.carried) = (Key::Value(1), 1);
        }
        if stored && tagged == Tagged::Locally {
            tag.processes[1].local = Some(Local { stamp: 1, is_old: false, as_of: 0 });
        }
        (tagged != Tagged::No).then_some(tag)
    }

    /// The stamp in Redis; 0 for none.
    pub(super) fn stamp(&self) -> Stamp {
        self.key.value().unwrap_or(0)
    }

    /// Whether what carries this stamp is good.
    fn has(&self, stamp: Stamp) -> bool {
        stamp != 0 && stamp == self.stamp()
    }

    fn without_seen(mut self, number: usize) -> Self {
        self.readings[number].seen = None;
        self
    }

    /// `max_staleness` passes.
    pub(super) fn age(&mut self) {
        for local in self.processes.iter_mut().filter_map(|here| here.local.as_mut()) {
            local.is_old = true;
        }
        for reading in &mut self.readings {
            reading.is_old = true;
        }
    }

    /// What nobody looks at any more is no difference.
    fn tidy(&mut self, number: usize, phase: Phase, is_shared: bool) {
        let reading = &mut self.readings[number];
        let kept = *reading;
        let as_of = kept.as_of;
        *reading = match phase {
            Phase::Reread { .. } => Reading { is_moved: false, stamp: 0, ..kept },
            Phase::Judge { .. } => kept,
            Phase::Begin => Reading { seen: kept.seen, ..Reading::default() },
            Phase::Lease => Reading { seen: kept.seen, as_of, ..Reading::default() },
            Phase::Run => Reading { seen: None, ..kept },
            Phase::Ran | Phase::Failed => {
                Reading { stamp: kept.stamp, as_of, ..Reading::default() }
            }
            // A lease is handed over with its stamp.
            Phase::Land(_) if is_shared => {
                Reading { stamp: kept.stamp, as_of, ..Reading::default() }
            }
            Phase::Get
            | Phase::Wait(_)
            | Phase::Seed
            | Phase::GiveBack
            | Phase::Land(_)
            | Phase::ReadAgain
            | Phase::Fall => Reading { as_of, ..Reading::default() },
            Phase::Follow { .. }
            | Phase::Nobody
            | Phase::Call
            | Phase::Look
            | Phase::Done
            | Phase::Gone => Reading::default(),
        };
        if reading.stamp == 0 && matches!(phase, Phase::Run) {
            (reading.is_moved, reading.is_old) = (false, false);
        }
    }
}

impl Protocol {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    /// Whether messages matter to anybody.
    pub(super) fn listens(&self) -> bool {
        self.configuration.memory || self.configuration.tagged == Tagged::Locally
    }

    /// GET, and MGET of the stamp where it has to be known: what the reader does next.
    pub(super) fn get_tagged(&self, state: &mut State, mut tag: Tag, number: u8, leads: bool) {
        let process = state.readers[number as usize].process;
        let rejected = if leads { Phase::Lease } else { Phase::Begin };
        let Some(seen) = state.seen(tag) else {
            state.readers[number as usize].phase = rejected;
            return;
        };
        let in_redis = tag.stamp();
        let reading = &mut tag.readings[number as usize];
        *reading = Reading { seen: Some(seen), as_of: state.announced, ..Reading::default() };
        let local = state.local_stamp(process);
        let mut bound = 0;
        let phase = match local {
            Some(local) if local.stamp == tag.carried => {
                if !self.breaks(Broken::DatedByLoad) {
                    (reading.is_old, reading.as_of) = (local.is_old, local.as_of);
                }
                bound = state.trusted(process, state.processes[process as usize].is_trusted);
                None
            }
            Some(_) if self.breaks(Broken::RejectsByLocalStamp) => Some(rejected),
            Some(_) => Some(Phase::Reread { leads }),
            None => {
                reading.stamp = in_redis;
                Some(Phase::Judge { leads })
            }
        };
        state.tag = Some(tag);
        state.readers[number as usize].trusted = bound;
        if leads {
            state.confirm_followers(number);
            // What they get is as old as that, whatever they were promised when they joined.
            let followers = state.readers.iter_mut().filter(|reader| reader.follows(number));
            followers.filter(|_| phase.is_none()).for_each(|reader| reader.trusted = bound);
        }
        match phase {
            Some(phase) => state.readers[number as usize].phase = phase,
            None => self.accept(state, number, seen, leads),
        }
    }

    /// What comes between a GET and a run.
    pub(super) fn tag_steps(&self, state: &State, number: u8, steps: &mut Steps) {
        let who = Who::Reader(number);
        let Some(tag) = state.tag else { return };
        let at = number as usize;
        let mut after = *state;
        match state.readers[at].phase {
            Phase::Reread { leads } => {
                let mut reread = tag;
                reread.readings[at].stamp = tag.stamp();
                after.tag = Some(reread);
                after.readers[at].phase = Phase::Judge { leads };
                steps.certain(who, "reads the stamp anew", after);
                if let Some(mut after) = state.failing(None) {
                    after.tag = Some(tag.without_seen(at));
                    after.readers[at].phase = if leads { Phase::Run } else { Phase::Begin };
                    steps.chance(who, "fails to read the stamp", after);
                }
            }
            Phase::Judge { leads } => {
                self.learn(&mut after, number);
                let Reading { seen, stamp, .. } = tag.readings[at];
                match seen {
                    Some(seen) if stamp != 0 && seen.stamp == stamp => {
                        self.accept(&mut after, number, seen, leads);
                    }
                    _ => after.readers[at].phase = if leads { Phase::Lease } else { Phase::Begin },
                }
                steps.certain(who, "compares stamps", after);
            }
            Phase::Seed => {
                let stamp = after.seed(self.broken);
                after.granted(number, stamp);
                steps.certain(who, "SEED", after);
                if let Some(mut after) = state.failing(Some(Late::Seed)) {
                    after.granted(number, 0);
                    steps.chance(who, "SEED times out", after);
                }
            }
            Phase::GiveBack => {
                if let Some(token) = after.readers[at].token.take() {
                    after.release(token, false, self.broken);
                }
                after.readers[at].phase = Phase::Run;
                steps.certain(who, "gives its lease back", after);
            }
            _ => {}
        }
    }

    /// LEASE was granted: the stamp was read on its way.
    pub(super) fn read_stamp(&self, state: &mut State, number: u8) {
        let Some(tag) = &mut state.tag else { return };
        let reading = &mut tag.readings[number as usize];
        *reading = Reading { as_of: state.announced, ..Reading::default() };
        match tag.key {
            _ if self.breaks(Broken::StampsAfterRun) => {}
            Key::Hold { .. } if !self.breaks(Broken::SeedsHeldTag) => state.granted(number, 0),
            Key::Absent | Key::Hold { .. } => {
                state.readers[number as usize].phase = Phase::Seed;
            }
            _ => reading.stamp = tag.key.value().unwrap_or(0),
        }
    }

    /// A process keeps what was read, unless the slot has moved meanwhile.
    /// A value was judged, and is good.
    fn accept(&self, state: &mut State, number: u8, seen: Seen, leads: bool) {
        let Seen { value, age, stamp, .. } = seen;
        let reading = state.tag.map(|tag| tag.readings[number as usize]).unwrap_or_default();
        let reader = &mut state.readers[number as usize];
        if age == Age::Fresh && !leads && reader.ask == Ask::Load {
            return state.returns(number, value, Source::Redis);
        }
        if leads {
            reader.is_old = reading.is_old;
        }
        if leads && age == Age::Fresh {
            reader.value = value;
            reader.phase = Phase::Land(Keep::Fully);
            return;
        }
        reader.phase = if leads { Phase::Lease } else { Phase::Begin };
        if age != Age::Past {
            let old = Old { stamp, trusted: reader.trusted, ..Old::in_redis(value, age) };
            reader.old = Some(old);
            if leads {
                self.found_old(state, number, old);
            }
        }
        state.note_reading(number, Reading { seen: None, ..reading });
    }

    pub(super) fn learn(&self, state: &mut State, number: u8) {
        let Some(tag) = &mut state.tag else { return };
        let Reading { stamp, is_moved, is_old, as_of, .. } = tag.readings[number as usize];
        let may_keep = !is_moved || self.broken == Some(Broken::KeepsMovedStamp);
        if self.configuration.tagged == Tagged::Locally && stamp != 0 && may_keep {
            let process = state.readers[number as usize].process;
            tag.processes[process as usize].local = Some(Local { stamp, is_old, as_of });
        }
    }

    /// What FILL stores with its value.
    pub(super) fn stamp_to_store(&self, state: &mut State, number: u8) -> Stamp {
        if state.tag.is_some() && self.breaks(Broken::StampsAfterRun) {
            return state.seed(self.broken);
        }
        state.tag.map_or(0, |tag| tag.readings[number as usize].stamp)
    }

    /// F5: FILL has found the lease. That says nothing of the tag, so it compares the stamp.
    pub(super) fn confirm_by_fill(&self, state: &mut State, number: u8) {
        let stamp = |tag: Tag| tag.readings[number as usize].stamp;
        let is_current = state.tag.is_none_or(|tag| tag.has(stamp(tag)));
        if is_current || self.breaks(Broken::FillWithoutStamps) {
            state.confirm_followers(number);
        }
    }

    /// What stands in Redis, if it is good by its tag.
    pub(super) fn standing(&self, state: &State) -> Option<Old> {
        let (value, age) = state.key.found()?;
        let is_good = state.is_stamp_current() || self.breaks(Broken::OldWithoutStamps);
        is_good.then(|| Old::in_redis(value, age))
    }

    /// F5: RELEASE has found the lease, and compares nothing.
    pub(super) fn confirm_by_release(&self, state: &mut State, number: u8) {
        if state.tag.is_none() || self.breaks(Broken::ReleaseWithoutStamps) {
            state.confirm_followers(number);
        }
    }

    /// HOLD of an entry's key reads the stamp on its way, or makes one.
    pub(super) fn read_stamp_of_update(&self, state: &mut State, number: u8) {
        let writer = state.writers[number as usize];
        let Some(tag) = state.tag.filter(|_| writer.change.has_value()) else { return };
        let may_seed = !self.breaks(Broken::SeedsAfterHold);
        let stamp = if may_seed { state.seed(self.broken) } else { tag.stamp() };
        let as_of = state.announced;
        if let Some(tag) = &mut state.tag {
            tag.updates[number as usize] = Update { stamp, as_of };
        }
    }

    /// SETTLE stores what HOLD has read.
    pub(super) fn read_stamp_for_settle(&self, state: &mut State, number: u8) {
        let Some(tag) = state.tag else { return };
        let mut update = tag.updates[number as usize];
        let is_missing = update.stamp == 0 && self.breaks(Broken::SeedsAfterHold);
        if is_missing || self.breaks(Broken::UpdateStampsLate) {
            update.stamp = state.seed(self.broken);
        }
        if self.breaks(Broken::UpdateDatedBySettle) {
            update.as_of = state.announced;
        }
        if let Some(tag) = &mut state.tag {
            tag.updates[number as usize] = update;
        }
    }

    /// What happens to a tag without anybody in a process.
    pub(super) fn redis_tag_steps(&self, state: &State, tag: Tag, steps: &mut Steps) {
        let who = Who::Redis;
        match tag.key {
            Key::Absent => {
                let mut after = *state;
                after.seed(self.broken);
                steps.chance(who, "SEED for another entry", after);
            }
            Key::Value(_) if state.left.expiries > 0 => {
                let mut after = *state;
                after.left.expiries -= 1;
                after.tag = Some(Tag { key: Key::Absent, ..tag });
                steps.chance(who, "the stamp expires", after);
            }
            _ => {}
        }
    }
}

impl State {
    /// The stamp that a process has, if it counts.
    fn local_stamp(&self, process: u8) -> Option<Local> {
        let is_trusted = self.processes[process as usize].is_trusted;
        let local = self.tag?.processes[process as usize].local?;
        (is_trusted || !local.is_old).then_some(local)
    }

    /// LEASE has found a value, which was not there before. The stamp was read after it.
    pub(super) fn found_by_lease(&mut self, number: u8, value: u8, age: Age) {
        let Some(tag) = self.tag else { return self.found(number, value, age) };
        if tag.has(tag.carried) {
            self.note_reading(number, Reading { as_of: self.announced, ..Reading::default() });
            return self.found(number, value, age);
        }
        let seen = self.seen(tag);
        self.note_reading(number, Reading { seen, ..tag.readings[number as usize] });
    }

    fn note_reading(&mut self, number: u8, reading: Reading) {
        if let Some(tag) = &mut self.tag {
            tag.readings[number as usize] = reading;
        }
    }

    /// The value that stands in Redis, as LEASE knows it again.
    fn seen(&self, tag: Tag) -> Option<Seen> {
        let (value, age) = self.key.found()?;
        let token = self.key.refresh().token();
        Some(Seen { value, age, token, stamp: tag.carried })
    }

    /// Whether the stamp of a value in Redis stands.
    pub(super) fn is_stamp_current(&self) -> bool {
        self.tag.is_none_or(|tag| tag.has(tag.carried))
    }

    /// RELEASE: whether the tag is what it was for LEASE.
    pub(super) fn has_stamp_of_lease(&self, number: u8) -> bool {
        self.tag.is_none_or(|tag| tag.has(tag.readings[number as usize].stamp))
    }

    /// Whether a process would take the value in Redis by the stamp that it has.
    pub(super) fn is_stamp_known(&self, process: usize) -> bool {
        self.tag.is_some_and(|tag| {
            tag.processes[process].local.is_some_and(|local| local.stamp == tag.carried)
        })
    }

    /// LEASE was granted, and the stamp is known; 0 if nobody may store: a writer holds the tag.
    fn granted(&mut self, number: u8, stamp: Stamp) {
        let reader = &mut self.readers[number as usize];
        reader.phase = if stamp == 0 { Phase::GiveBack } else { Phase::Run };
        reader.is_superseded |= stamp == 0;
        if let Some(tag) = &mut self.tag {
            let as_of = self.announced;
            tag.readings[number as usize] = Reading { stamp, as_of, ..Reading::default() };
        }
    }

    /// LEASE: takes away what was seen and rejected, if it still stands.
    pub(super) fn lease(
        &mut self,
        token: Token,
        ask: Ask,
        seen: Option<Seen>,
        broken: Option<Broken>,
    ) -> Leased {
        if let (Some(seen), Some(tag)) = (seen, self.tag)
            && self.seen(tag).is_some_and(|now| now == Seen { age: now.age, ..seen })
            && broken != Some(Broken::LeaseWithoutSeen)
        {
            if tag.has(seen.stamp) {
                self.broken = Some(super::Rule::Kept);
            }
            self.key = Key::Absent;
            // Whoever runs for it runs for what is dead.
            self.told = Refresh::Nobody;
        }
        let leased = self.key.lease(token, ask, broken);
        self.judge_lease(token, ask, leased);
        leased
    }

    /// SEED: the stamp, which is made unlike all others if there is none; 0 if the tag is held.
    pub(super) fn seed(&mut self, broken: Option<Broken>) -> Stamp {
        let mut newest = 0;
        self.each_stamp(|stamp| newest = newest.max(*stamp));
        let Some(tag) = &mut self.tag else { return 0 };
        let may_seed = match tag.key {
            Key::Hold { .. } => broken == Some(Broken::SeedsHeldTag),
            key => key == Key::Absent,
        };
        if may_seed {
            let counted = broken == Some(Broken::CountedStamps);
            tag.key = Key::Value(if counted { 1 } else { newest + 1 });
        }
        tag.stamp()
    }

    /// INVALIDATE of the tag: the stamp that its message carries, which is none if all is well.
    pub(super) fn invalidate_tag(&mut self, broken: Option<Broken>) -> Stamp {
        let Some(tag) = &mut self.tag else { return 0 };
        match (broken, tag.key) {
            (Some(Broken::CountedStamps), Key::Value(stamp)) => tag.key = Key::Value(stamp + 1),
            (Some(Broken::MessageSetsStamp), Key::Value(_) | Key::Absent) => {
                tag.key = Key::Absent;
                return self.seed(broken);
            }
            _ => tag.key.invalidate(broken),
        }
        0
    }

    /// P1: moves the generation of the tag's slot.
    pub(super) fn drop_stamp(&mut self, process: u8) {
        let Some(tag) = &mut self.tag else { return };
        tag.processes[process as usize].local = None;
        for (reading, reader) in tag.readings.iter_mut().zip(&self.readers) {
            reading.is_moved |= reader.process == process;
        }
    }

    fn each_stamp(&mut self, mut with: impl FnMut(&mut Stamp)) {
        let Some(tag) = &mut self.tag else { return };
        if let Key::Value(stamp) = &mut tag.key {
            with(stamp);
        }
        with(&mut tag.carried);
        for here in &mut tag.processes {
            if let Some(local) = &mut here.local {
                with(&mut local.stamp);
            }
        }
        for reading in &mut tag.readings {
            if let Some(seen) = &mut reading.seen {
                with(&mut seen.stamp);
            }
            with(&mut reading.stamp);
        }
        for update in &mut tag.updates {
            with(&mut update.stamp);
        }
        for old in self.readers.iter_mut().filter_map(|reader| reader.old.as_mut()) {
            with(&mut old.stamp);
        }
        for process in &mut self.processes {
            process.link.each_stamp(&mut with);
        }
        for late in self.late.iter_mut().flatten() {
            if let Late::Fill { stamp, .. } | Late::Lease { seen: Some(Seen { stamp, .. }), .. } =
                late
            {
                with(stamp);
            }
        }
    }

    /// States that differ in nothing but the names of stamps, or in what nobody looks at any more,
    /// are one.
    pub(super) fn tidy_tag(&mut self, configuration: Configuration, broken: Option<Broken>) {
        let is_strict = configuration.tagged == Tagged::Strictly;
        let Some(tag) = &mut self.tag else { return };
        if self.key.value().is_none() {
            tag.carried = 0;
        }
        // Nothing is stored where a tag is held: who was alone does not matter.
        if let Key::Hold { contended, .. } = &mut tag.key {
            *contended = false;
        }
        for (number, reader) in self.readers.iter().enumerate() {
            tag.tidy(number, reader.phase, reader.token.is_some() && self.left.cancels > 0);
            let reading = &mut tag.readings[number];
            if is_strict {
                reading.is_moved = false;
            }
            if is_strict && !configuration.memory {
                (reading.is_old, reading.as_of) = (false, 0);
            }
        }
        for (number, here) in tag.processes.iter_mut().enumerate() {
            if self.processes[number].memory.is_none() {
                here.as_of = 0;
            }
        }
        for (number, writer) in self.writers.iter().enumerate() {
            let is_late = self.late.iter().flatten().any(|late| match late {
                Late::Settle { writer, .. } => *writer as usize == number,
                _ => false,
            });
            if (writer.is_done() || writer.phase == writer::Phase::Owed) && !is_late {
                tag.updates[number] = Update::default();
            }
        }
        // Those that are counted mean what they are.
        if broken == Some(Broken::CountedStamps) {
            return;
        }
        let mut names = [0; 32];
        let mut newest = 0;
        self.each_stamp(|stamp| {
            if *stamp == 0 {
                return;
            }
            let name = &mut names[*stamp as usize];
            if *name == 0 {
                newest += 1;
                *name = newest;
            }
            *stamp = *name;
        });
        self.late.sort_unstable();
    }
}
