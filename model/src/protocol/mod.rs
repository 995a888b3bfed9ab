//! The protocol about one key and its tag, as a model.

mod errors;
mod freshness;
mod process;
mod reader;
mod redis;
mod tag;
mod writer;

use std::fmt;

pub use self::{
    freshness::{Age, Old, Refresh},
    process::{Changes, Entry, Link, Message, Process},
    reader::{Keep, Reader},
    redis::{Ask, Key, Late, Seen, Stamp, Token},
    tag::{Here, Local, Reading, Tag, Update},
    writer::{Change, Writer},
};
use crate::{
    broken::Broken,
    configurations::Configuration,
    explorer::{Model, Step},
};

/// Most readers of a configuration.
pub const READERS: usize = 4;
/// Most writers of a configuration.
pub const WRITERS: usize = 3;

/// The protocol, in one configuration.
#[derive(Debug)]
pub struct Protocol {
    /// Who takes part.
    pub configuration: Configuration,
    /// A rule that it does not keep.
    pub broken: Option<Broken>,
}

/// Everything at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The version that the database has.
    db: u8,
    key: Key,
    /// What was said to those who asked LEASE: who runs the function, or that nobody does yet.
    told: Refresh,
    tag: Option<Tag>,
    /// Commands that nobody waits for any more.
    late: [Option<Late>; 2],
    processes: [Process; 2],
    readers: [Reader; READERS],
    writers: [Writer; WRITERS],
    /// What may still happen.
    left: Chances,
    /// The newest version that Redis was told of.
    announced: u8,
    /// The newest version whose change has returned Ok, or was repaired. By tag: if that is promised
    /// to hold for all.
    completed: u8,
    /// What had been announced `max_staleness` ago.
    floor: u8,
    /// The rule that the last step broke.
    broken: Option<Rule>,
}

/// How often what need not happen may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Chances {
    /// A lease, a value or a stamp expires.
    pub expiries: u8,
    /// The values of one age grow older.
    pub agings: u8,
    /// The function fails.
    pub errors: u8,
    /// What the function returns is not to be stored.
    pub rejections: u8,
    /// What a writer has of a hold expires.
    pub hold_expiries: u8,
    /// A process crashes.
    pub crashes: u8,
    /// A call of a reader or writer is dropped.
    pub cancels: u8,
    /// A command is not answered in time. It may be executed later, or never.
    pub failures: u8,
    /// A link breaks.
    pub breaks: u8,
    /// `max_staleness` passes.
    pub ticks: u8,
    /// A link is proven alive although it is trusted.
    pub pings: u8,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// D1: what is read from Redis, or run, after an invalidation has returned is not from before it.
    /// Of one by tag that is promised where stamps are read with each value.
    D1,
    /// After an invalidation has returned, well or not, its process serves nothing from before it.
    Own,
    /// What memory serves, or what is taken by the stamp of a process, is not from before an invalidation that was announced before the moment
    /// as of which memory is trusted, nor from before one that was announced `max_staleness` ago.
    Stale,
    /// When everything has come to rest, neither Redis nor memory has a value that is older than the
    /// database, but for a crash that no hold covered; and nothing is pending.
    Rest,
    /// What is thrown away as outdated by its tag is so.
    Kept,
    /// While somebody is told to run the function and has the lease, nobody else is.
    L1,
    /// After an error nobody is told to run the function for a while, as long as a value stands.
    Pause,
    /// Nobody is refused for a run that has ended.
    Idle,
    /// What is served after an error is not from before an invalidation that had returned, to
    /// anybody when the lease was given back, or in this process.
    L5,
    /// Nothing is served past its end, nor what is kept for errors before there was one.
    Life,
}

/// A step of the protocol in a trace.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    who: Who,
    what: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Reader(u8),
    Writer(u8),
    Process(u8),
    Redis,
    Time,
}

type Steps = Vec<Step<Protocol>>;

#[allow(clippy::large_types_passed_by_value, reason = "it is moved into its step")]
trait Add {
    /// A step that comes about by itself.
    fn certain(&mut self, who: Who, what: &'static str, after: State);
    /// A step that may never come.
    fn chance(&mut self, who: Who, what: &'static str, after: State);
}

#[allow(clippy::large_types_passed_by_value, reason = "it is moved into its step")]
impl Add for Steps {
    fn certain(&mut self, who: Who, what: &'static str, after: State) {
        self.push(Step { label: Label { who, what }, after, is_certain: true });
    }

    fn chance(&mut self, who: Who, what: &'static str, after: State) {
        self.push(Step { label: Label { who, what }, after, is_certain: false });
    }
}

impl Model for Protocol {
    type State = State;
    type Label = Label;
    type Rule = Rule;

    fn initial(&self) -> State {
        let Configuration { readers, writers, memory, stored, chances, .. } = self.configuration;
        let mut state = State {
            db: 0,
            key: if stored { Key::Value(0) } else { Key::Absent },
            told: Refresh::Nobody,
            tag: Tag::initial(self.configuration),
            late: [None; 2],
            processes: [Process { is_trusted: true, ..Process::default() }; 2],
            readers: [Reader::default(); READERS],
            writers: [Writer::default(); WRITERS],
            left: chances,
            announced: 0,
            completed: 0,
            floor: 0,
            broken: None,
        };
        if memory && stored {
            let (age, is_old, is_unconfirmed) = (Age::Fresh, false, false);
            state.processes[1].memory = Some(Entry { value: 0, age, is_old, is_unconfirmed });
        }
        for (reader, process) in state.readers.iter_mut().zip(readers) {
            *reader = Reader { process: *process, phase: reader::Phase::Call, ..*reader };
        }
        for (writer, (process, change)) in state.writers.iter_mut().zip(writers) {
            let (process, change) = (*process, *change);
            *writer = Writer { process, change, phase: writer::Phase::Call, ..*writer };
        }
        state
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<Self>>) {
        for number in 0..READERS as u8 {
            self.reader_steps(state, number, steps);
        }
        for number in 0..WRITERS as u8 {
            self.writer_steps(state, number, steps);
        }
        for process in 0..2 {
            self.process_steps(state, process, steps);
        }
        self.time_steps(state, steps);
        self.aging_steps(state, steps);
        self.redis_steps(state, steps);
        if self.configuration.freshness.is_any() {
            for step in steps.iter_mut() {
                step.after.tidy_old(self.configuration.freshness, self.broken);
            }
        }
        if state.tag.is_some() {
            for step in steps {
                step.after.tidy_tag(self.configuration, self.broken);
            }
        }
    }

    fn broken_rule(&self, state: &State) -> Option<Rule> {
        state.broken.or_else(|| (state.is_at_rest() && !state.rests_well()).then_some(Rule::Rest))
    }

    fn is_finished(&self, state: &State) -> bool {
        state.readers.iter().all(Reader::is_done) && state.writers.iter().all(Writer::is_done)
    }
}

impl Protocol {
    /// What happens in Redis without anybody in a process.
    fn redis_steps(&self, state: &State, steps: &mut Steps) {
        let who = Who::Redis;
        let is_fleeting = matches!(state.key, Key::Lease(_) | Key::Value(_) | Key::Aged { .. });
        if is_fleeting && state.left.expiries > 0 {
            let mut after = *state;
            after.key = Key::Absent;
            after.told = Refresh::Nobody;
            after.left.expiries -= 1;
            steps.chance(who, "the key expires", after);
        }
        self.hold_steps(state, steps);
        if let Some(tag) = state.tag {
            self.redis_tag_steps(state, tag, steps);
        }
        for (place, late) in state.late.iter().enumerate() {
            let Some(late) = *late else { continue };
            let mut never = *state;
            never.late[place] = None;
            never.late.sort_unstable();
            let mut after = never;
            steps.certain(who, "a late command is lost", never);
            self.execute(&mut after, late);
            steps.certain(who, "a late command arrives", after);
        }
    }

    /// Each writer's hold ends by itself.
    fn hold_steps(&self, state: &State, steps: &mut Steps) {
        if state.left.hold_expiries == 0 {
            return;
        }
        for number in 0..self.configuration.writers.len() as u8 {
            if !state.has_hold(number) {
                continue;
            }
            let mut after = *state;
            after.left.hold_expiries -= 1;
            after.writers[number as usize].is_held = false;
            after.key_of(number).lose_hold_of(number);
            steps.chance(Who::Redis, "the hold of a writer expires", after);
        }
    }

    /// Executes a command. Says of SETTLE whether the writer was alone.
    fn execute(&self, state: &mut State, command: Late) -> bool {
        let (mut alone, mut stamp) = (false, 0);
        let writer = match command {
            Late::Lease { token, ask, seen } => {
                state.lease(token, ask, seen, self.broken);
                return false;
            }
            Late::Release { token, failed } => {
                state.release(token, failed, self.broken);
                return false;
            }
            Late::Fill { token, value, stamp } => {
                return state.fill(token, value, stamp, self.broken);
            }
            Late::Seed => {
                state.seed(self.broken);
                return false;
            }
            Late::Invalidate { writer } => {
                if state.writers[writer as usize].change.is_of_tag() {
                    stamp = state.invalidate_tag(self.broken);
                } else {
                    state.key.invalidate(self.broken);
                }
                state.announce(writer);
                writer
            }
            Late::Hold { writer } => {
                state.key_of(writer).hold(writer, self.broken);
                state.forget_told();
                if self.broken == Some(Broken::SilentHold) {
                    return false;
                }
                writer
            }
            Late::Renew { writer } => {
                state.key_of(writer).renew(writer, self.broken);
                writer
            }
            Late::Settle { writer, value } => {
                alone = state.key_of(writer).settle(writer, value, self.broken);
                if let Some(tag) = &mut state.tag
                    && alone
                    && value.is_some()
                {
                    tag.carried = tag.updates[writer as usize].stamp;
                }
                state.announce(writer);
                writer
            }
        };
        state.forget_told();
        self.publish(state, writer, stamp);
        alone
    }

    fn publish(&self, state: &mut State, writer: u8, stamp: Stamp) {
        let Writer { process, change, .. } = state.writers[writer as usize];
        if self.listens() {
            let bumped = change.is_of_tag().then_some(Message::Bumped { stamp });
            state.publish(process, bumped.unwrap_or(Message::Changed));
        }
    }
}

impl State {
    /// One failure less, with the command in a socket.
    fn failing(&self, late: Option<Late>) -> Option<Self> {
        let mut after = *self;
        after.left.failures = self.left.failures.checked_sub(1)?;
        if let Some(late) = late {
            // The first place is the last one to be taken.
            after.late[0].is_none().then_some(())?;
            after.late[0] = Some(late);
            after.late.sort_unstable();
        }
        Some(after)
    }

    /// FILL. Whether it was stored.
    fn fill(&mut self, token: Token, value: u8, stamp: Stamp, broken: Option<Broken>) -> bool {
        let is_stored = self.key.fill(token, value, broken);
        if is_stored {
            self.told = Refresh::Nobody;
        }
        if let Some(tag) = &mut self.tag
            && is_stored
        {
            tag.carried = stamp;
        }
        is_stored
    }

    /// What a writer changes: the entry, or its tag.
    fn key_of(&mut self, writer: u8) -> &mut Key {
        match &mut self.tag {
            Some(tag) if self.writers[writer as usize].change.is_of_tag() => &mut tag.key,
            _ => &mut self.key,
        }
    }

    fn has_hold(&self, writer: u8) -> bool {
        let is_of_tag = self.writers[writer as usize].change.is_of_tag();
        let key = if is_of_tag { self.tag.map_or(Key::Absent, |tag| tag.key) } else { self.key };
        key.has_hold_of(writer)
    }

    fn crash(&mut self, process: u8) {
        let gone = &mut self.processes[process as usize];
        *gone = Process { is_gone: true, link: Link::Down, ..Process::default() };
        if let Some(tag) = &mut self.tag {
            tag.processes[process as usize] = Here::default();
        }
        for reader in &mut self.readers {
            if reader.process == process && !reader.is_done() {
                reader.end(reader::Phase::Gone);
            }
        }
        for writer in &mut self.writers {
            if writer.process == process && !writer.is_done() {
                writer.phase = writer::Phase::Gone;
                writer.is_confirmed = false;
                writer.is_held = false;
                writer.is_old = false;
                writer.number = 0;
            }
        }
    }

    /// Whether nothing is under way: what is left of leases and holds ends by itself.
    fn is_at_rest(&self) -> bool {
        let is_quiet = |process: &Process| match process.link {
            Link::Up(queue) => queue[0].is_none(),
            Link::Cut | Link::Down => true,
        };
        self.readers.iter().all(Reader::is_done)
            && self.writers.iter().all(Writer::is_done)
            && self.late == [None; 2]
            && self.processes.iter().all(is_quiet)
    }

    fn rests_well(&self) -> bool {
        let oldest = self
            .writers
            .iter()
            .filter(|writer| {
                let is_gone = writer.phase == writer::Phase::Gone;
                writer.is_announced || writer.is_covered || !is_gone
            })
            .map(|writer| writer.version)
            .max()
            .unwrap_or(0);
        let is_old = self.key.value().is_some_and(|value| value < oldest);
        let is_good = |(number, process): (usize, &Process)| {
            let is_heard = process.is_trusted && matches!(process.link, Link::Up(_));
            let memory = process.memory.filter(|entry| is_heard && !entry.is_unconfirmed);
            let is_served = is_old && is_heard && self.is_stamp_known(number);
            memory.is_none_or(|entry| entry.value >= oldest)
                && !is_served
                && !self.is_pending(number as u8)
        };
        let is_stale = is_old && self.is_stamp_current();
        !is_stale && self.processes.iter().enumerate().all(is_good)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what;
        match self.who {
            Who::Reader(number) => write!(f, "reader {number}: {what}"),
            Who::Writer(number) => write!(f, "writer {number}: {what}"),
            Who::Process(number) => write!(f, "process {number}: {what}"),
            Who::Redis => write!(f, "redis: {what}"),
            Who::Time => write!(f, "time: {what}"),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "db {}, {:?}", self.db, self.key)?;
        for (number, process) in self.processes.iter().enumerate() {
            if let Some(entry) = process.memory {
                write!(f, ", memory {number}: {}", entry.value)?;
                if entry.age != Age::Fresh {
                    write!(f, ", {:?}", entry.age)?;
                }
            }
        }
        let Some(tag) = self.tag else { return Ok(()) };
        match tag.key {
            Key::Value(stamp) => write!(f, ", stamp {stamp}")?,
            key => write!(f, ", stamp {key:?}")?,
        }
        if tag.carried != 0 {
            write!(f, ", carried {}", tag.carried)?;
        }
        for (number, here) in tag.processes.iter().enumerate() {
            if let Some(local) = here.local {
                write!(f, ", local {number}: {}", local.stamp)?;
            }
        }
        Ok(())
    }
}
