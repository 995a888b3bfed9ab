//! The protocol about one key, as a model.

mod process;
mod reader;
mod redis;
mod writer;

use std::fmt;

pub use self::{
    process::{Changes, Entry, Link, Message, Process},
    reader::{Keep, Reader},
    redis::{Key, Late, Token},
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
    /// Commands that nobody waits for any more.
    late: [Option<Late>; 2],
    processes: [Process; 2],
    readers: [Reader; READERS],
    writers: [Writer; WRITERS],
    /// What may still happen.
    left: Chances,
    /// The newest version that Redis was told of.
    announced: u8,
    /// The newest version whose change has returned Ok, or was repaired.
    completed: u8,
    /// What had been announced `max_staleness` ago.
    floor: u8,
    /// The rule that the last step broke.
    broken: Option<Rule>,
}

/// How often what need not happen may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Chances {
    /// A lease or a value expires.
    pub expiries: u8,
    /// A value is due for a refresh.
    pub agings: u8,
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
    D1,
    /// After an invalidation has returned, well or not, its process serves nothing from before it.
    Own,
    /// What memory serves is not from before an invalidation that was announced before the moment
    /// as of which memory is trusted, nor from before one that was announced `max_staleness` ago.
    Stale,
    /// When everything has come to rest, neither Redis nor memory has a value that is older than the
    /// database, but for a crash that no hold covered; and nothing is pending.
    Rest,
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

trait Add {
    /// A step that comes about by itself.
    fn certain(&mut self, who: Who, what: &'static str, after: State);
    /// A step that may never come.
    fn chance(&mut self, who: Who, what: &'static str, after: State);
}

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
            let entry = Entry { value: 0, is_old: false, is_unconfirmed: false };
            state.processes[1].memory = Some(entry);
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
        Self::time_steps(state, steps);
        self.redis_steps(state, steps);
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
        let mut after = *state;
        after.key = Key::Absent;
        match state.key {
            Key::Lease(_) | Key::Value(_) | Key::Stale { .. } if state.left.expiries > 0 => {
                after.left.expiries -= 1;
                steps.chance(who, "the key expires", after);
            }
            // Each writer's by itself.
            Key::Hold { writers, contended } if state.left.hold_expiries > 0 => {
                after.left.hold_expiries -= 1;
                for number in (0..after.writers.len()).filter(|at| writers & (1 << at) != 0) {
                    let mut after = after;
                    after.writers[number].is_held = false;
                    let writers = writers & !(1 << number);
                    if writers != 0 {
                        after.key = Key::Hold { writers, contended };
                    }
                    steps.chance(who, "the hold of a writer expires", after);
                }
            }
            _ => {}
        }
        if let Key::Value(value) = state.key
            && state.left.agings > 0
        {
            let mut after = *state;
            after.left.agings -= 1;
            after.key = Key::Stale { value, refresher: None };
            steps.chance(who, "the value is due for a refresh", after);
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

    /// Executes a command. Says of SETTLE whether the writer was alone.
    fn execute(&self, state: &mut State, command: Late) -> bool {
        let mut alone = false;
        let writer = match command {
            Late::Lease(token) => {
                state.key.lease(token);
                return false;
            }
            Late::Fill(token, value) => {
                return state.key.fill(token, value, self.broken);
            }
            Late::Invalidate { writer } => {
                state.key.invalidate(self.broken);
                state.announce(writer);
                writer
            }
            Late::Hold { writer } => {
                state.key.hold(writer, self.broken);
                if self.broken == Some(Broken::SilentHold) {
                    return false;
                }
                writer
            }
            Late::Renew { writer } => {
                state.key.renew(writer, self.broken);
                writer
            }
            Late::Settle { writer, value } => {
                alone = state.key.settle(writer, value, self.broken);
                state.announce(writer);
                writer
            }
        };
        self.publish(state, state.writers[writer as usize].process);
        alone
    }

    fn publish(&self, state: &mut State, process: u8) {
        if self.configuration.memory {
            state.publish(process);
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

    fn crash(&mut self, process: u8) {
        let gone = &mut self.processes[process as usize];
        *gone = Process { is_gone: true, link: Link::Down, ..Process::default() };
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
        let is_good = |process: &Process| {
            let memory = process.memory.filter(|entry| {
                let is_heard = process.is_trusted && matches!(process.link, Link::Up(_));
                is_heard && !entry.is_unconfirmed
            });
            memory.is_none_or(|entry| entry.value >= oldest) && !process.changes.is_pending()
        };
        let is_stale = self.key.value().is_some_and(|value| value < oldest);
        !is_stale && self.processes.iter().all(is_good)
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
            }
        }
        Ok(())
    }
}
