//! A lock and two or three processes: all that can happen, step by step.
//!
//! What ACQUIRE and UNLOCK do is what the scripts are checked to do (`tests/common/lock.rs`), and what a
//! process does is as in `lock/claim.rs` and `lock/held.rs` of the runtime. A command that was sent is
//! executed at any time later, in any order, or never; a process goes on, or does not for as long as it likes
//! (it is frozen), or dies; a claim is cancelled at any moment, its answer lost. Nobody is told that it is
//! his turn: who waits asks again at any moment.
//!
//! In each state at most one process could act under the lock, by the clock that it looks at first; fences
//! rise in the order in which they are granted, also where the server was emptied or its clock put back; and
//! from each state on, once nothing more goes wrong, all who want the lock get it within a bounded time, and
//! nothing is left of anybody then.
//!
//! Time passes in steps of a second. It stands still at `NOW`, and everything else moves into the past, so
//! that states which differ in nothing but the time of day are one. States may follow each other in circles,
//! for ever: so this is not explored as the protocol is.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};

use self::server::{Answer, Ask, COUNTS, Standing};

#[path = "../../tests/common/lock.rs"]
mod server;

/// Who takes part, and what may go wrong beside what always may.
#[derive(Debug, Clone, Copy)]
pub struct Configuration {
    /// What it is called.
    pub name: &'static str,
    processes: usize,
    /// Commands at once, of all processes.
    under_way: usize,
    /// Processes that die.
    deaths: u8,
    /// How often the server is emptied. Then there are two holders until the first one renews it.
    losses: u8,
    /// How often the server's clock is put back.
    steps_back: u8,
}

const PLAIN: Configuration = Configuration {
    name: "a lock: two processes",
    processes: 2,
    under_way: 3,
    deaths: 0,
    losses: 0,
    steps_back: 0,
};

/// Explored with every change.
pub const SMALL: &[Configuration] = &[
    PLAIN,
    Configuration { name: "a lock: one dies", under_way: 2, deaths: 1, ..PLAIN },
    Configuration { name: "a lock: the server is emptied", under_way: 2, losses: 1, ..PLAIN },
    Configuration { name: "a lock: its clock is put back", under_way: 2, steps_back: 1, ..PLAIN },
];

/// Larger ones.
pub const LARGE: &[Configuration] = &[
    Configuration { name: "a lock: one dies, three commands", deaths: 1, ..PLAIN },
    Configuration { name: "a lock: the server is emptied, three commands", losses: 1, ..PLAIN },
    Configuration { name: "a lock: its clock is put back, three commands", steps_back: 1, ..PLAIN },
    Configuration { name: "a lock: three processes", processes: 3, under_way: 2, ..PLAIN },
];

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The holder counts its lease from the answer, and not from when it asked.
    CountsFromAnswer,
    /// A claim that failed asks again with the token that is given back.
    SameToken,
    /// UNLOCK frees the lock whoever has it.
    UnlocksAnybody,
}

/// All of them.
pub const CASES: [Broken; 3] =
    [Broken::CountsFromAnswer, Broken::SameToken, Broken::UnlocksAnybody];

const TICK: u64 = COUNTS;
const NOW: u64 = 1_000_000;
const LEASE: u64 = 2 * TICK;
/// For how long a lease is relied on, from when it was asked for.
const TERM: u64 = LEASE - 1;
/// What a command takes, in microseconds, as far as fences go.
const TAKES: u64 = TICK * 1000 / 4;
/// After which a command is not executed any more.
const BUDGET: u64 = TICK;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Commands at once.
    most: usize,
    broken: Option<Broken>,
    standing: Option<Standing>,
    /// The greatest fence that was granted, in microseconds.
    fence: u64,
    processes: Vec<Process>,
    under_way: Vec<Command>,
    /// How many more there may be.
    deaths: u8,
    losses: u8,
    steps_back: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Process {
    Idle,
    /// Its command is under way; whether it has a place from before.
    Asks(u128, bool),
    Waits(u128),
    /// Until then.
    Holds(u128, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Command {
    of: usize,
    token: u128,
    does: Does,
    sent: u64,
    heard_by: HeardBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Does {
    Now,
    Wait,
    Renew,
    Unlock,
}

/// Who learns of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum HeardBy {
    Process,
    /// It gives back what was taken.
    Tier,
    Nobody,
}

impl State {
    fn new(configuration: &Configuration, broken: Option<Broken>) -> Self {
        let Configuration { processes, under_way, deaths, losses, steps_back, .. } = *configuration;
        Self {
            most: under_way,
            broken,
            standing: None,
            fence: 0,
            processes: vec![Process::Idle; processes],
            under_way: Vec::new(),
            deaths,
            losses,
            steps_back,
        }
    }

    /// The same by a clock that is so much further.
    fn passed(&self, millis: u64, micros: u64) -> Self {
        let mut state = self.clone();
        state.move_by(|time| time.saturating_sub(millis));
        state.fence = self.fence.saturating_sub(micros);
        if let Some(standing) = &mut state.standing {
            standing.fence = standing.fence.saturating_sub(micros);
        }
        state.normal()
    }

    fn move_by(&mut self, to: impl Fn(u64) -> u64) {
        if let Some(standing) = &mut self.standing {
            standing.ends = to(standing.ends);
            standing.written = to(standing.written);
            standing.places.iter_mut().for_each(|(_, ends)| *ends = to(*ends));
        }
        for process in &mut self.processes {
            if let Process::Holds(_, until) = process {
                *until = to(*until);
            }
        }
        self.under_way.iter_mut().for_each(|command| command.sent = to(command.sent));
    }

    /// What makes no difference any more is the same: what is over, by how much a fence is less than the next
    /// will be, and since when a command is too late.
    fn normal(mut self) -> Self {
        let least = NOW * 1000 - 1;
        self.fence = self.fence.max(least);
        for process in &mut self.processes {
            if let Process::Holds(_, until) = process {
                *until = NOW.max(*until);
            }
        }
        for command in &mut self.under_way {
            let is_of_time = command.does != Does::Unlock && NOW <= command.sent + BUDGET;
            command.sent = if is_of_time { command.sent } else { 0 };
        }
        if let Some(standing) = &mut self.standing {
            standing.fence = standing.fence.max(least);
            // By one step back of the clock, what was over a step ago does not come back.
            let over = NOW - u64::from(self.steps_back) * TICK;
            if standing.ends <= over {
                (standing.holder, standing.ends) = (0, 0);
            }
            standing.places.retain(|(_, ends)| *ends > over);
            standing.written = standing.written.max(over);
        }
        self.under_way.sort_unstable();
        self
    }

    /// One that nobody has, of so many that a process has.
    fn token(&self, of: usize, most: u128) -> Option<u128> {
        let mut tokens = (1..=most).map(|number| of as u128 * 10 + number);
        if self.broken == Some(Broken::SameToken) {
            return tokens.next();
        }
        tokens.find(|token| {
            let places = self.standing.iter().flat_map(|standing| &standing.places);
            self.standing.as_ref().is_none_or(|standing| standing.holder != *token)
                && places.into_iter().all(|(of, _)| of != token)
                && self.under_way.iter().all(|command| command.token != *token)
        })
    }

    fn send(mut self, of: usize, token: u128, does: Does) -> Option<Self> {
        if self.under_way.len() >= self.most {
            return None;
        }
        let heard_by = if does == Does::Unlock { HeardBy::Nobody } else { HeardBy::Process };
        self.under_way.push(Command { of, token, does, sent: NOW, heard_by });
        self.under_way.sort_unstable();
        Some(self)
    }

    fn is(mut self, of: usize, process: Process) -> Self {
        self.processes[of] = process;
        self
    }

    /// Whoever waits for the answers of a process any more, it is not that process.
    fn forsaken(mut self, of: usize, heard_by: HeardBy) -> Self {
        for command in self.under_way.iter_mut().filter(|command| command.of == of) {
            if command.heard_by != HeardBy::Nobody {
                command.heard_by = heard_by;
            }
        }
        self.under_way.sort_unstable();
        self
    }

    /// A command is executed, and answered if somebody listens.
    fn execute(&self, number: usize) -> Result<Self, String> {
        let mut state = self.clone();
        let command = state.under_way.remove(number);
        let Command { of, token, does, sent, heard_by } = command;
        let standing = state.standing.clone().unwrap_or_default();
        if does == Does::Unlock {
            let is_anybody = self.broken == Some(Broken::UnlocksAnybody) && standing.holder != 0;
            let token = if is_anybody { standing.holder } else { token };
            let (_, left, _) = standing.unlock(token, NOW * 1000);
            state.standing = left.or(state.standing);
            return Ok(state.passed(0, TAKES));
        }
        let ask = match does {
            Does::Now => Ask::Now,
            Does::Wait => Ask::Wait,
            _ => Ask::Renew,
        };
        let counted_from = match self.broken {
            // Which takes a second to come.
            Some(Broken::CountsFromAnswer) => NOW + TICK,
            _ => sent,
        };
        let is_late = NOW > sent + BUDGET;
        let answer = (!is_late).then(|| {
            let (answer, left) = standing.acquire(token, LEASE, ask, NOW * 1000);
            state.standing = left.or(state.standing.clone());
            answer
        });
        let is_new = standing.at(NOW).holder != token;
        if let (Some(Answer::Held(fence)), true) = (answer, is_new) {
            if fence <= state.fence {
                return Err(format!("{fence} is granted after {}", state.fence));
            }
            state.fence = fence;
        }
        let took = matches!(answer, Some(Answer::Held(_) | Answer::Busy(_, Some(_))));
        let process = state.processes[of];
        let state = match (heard_by, process, answer) {
            (HeardBy::Process, _, Some(Answer::Held(_))) => {
                state.is(of, Process::Holds(token, counted_from + TERM))
            }
            (HeardBy::Process, Process::Asks(..), Some(Answer::Busy(_, Some(_)))) => {
                state.is(of, Process::Waits(token))
            }
            // A place of before is given up.
            (HeardBy::Process, Process::Asks(_, true), None) => {
                let idle = state.clone().is(of, Process::Idle);
                idle.send(of, token, Does::Unlock).unwrap_or(state)
            }
            // It did not get the lock, or has it no longer.
            (HeardBy::Process, Process::Asks(..), _) | (HeardBy::Process, _, Some(_)) => {
                state.is(of, Process::Idle)
            }
            (HeardBy::Tier, ..) if took && does != Does::Renew => {
                // There is room: the one that was executed has left.
                state.clone().send(of, token, Does::Unlock).unwrap_or(state)
            }
            _ => state,
        };
        Ok(state.passed(0, TAKES))
    }

    /// All that can happen next.
    fn steps(&self) -> Result<Vec<Self>, String> {
        let mut steps = vec![self.passed(TICK, TICK * 1000)];
        for number in 0..self.under_way.len() {
            steps.push(self.execute(number)?);
            if self.under_way[number].heard_by != HeardBy::Process {
                let mut lost = self.clone();
                lost.under_way.remove(number);
                steps.push(lost);
            }
        }
        for (of, process) in self.processes.iter().copied().enumerate() {
            let this = || self.clone();
            match process {
                Process::Idle => {
                    let asks = self.token(of, 2).and_then(|token| {
                        this().is(of, Process::Asks(token, false)).send(of, token, Does::Wait)
                    });
                    steps.extend(asks);
                }
                Process::Asks(token, has_place) => {
                    // Its answer takes too long, or nobody waits for it any more.
                    let gone = this().is(of, Process::Idle).forsaken(of, HeardBy::Tier);
                    steps.extend(if has_place {
                        gone.send(of, token, Does::Unlock)
                    } else {
                        Some(gone)
                    });
                }
                Process::Waits(token) => {
                    for does in [Does::Now, Does::Wait] {
                        steps.extend(
                            this().is(of, Process::Asks(token, true)).send(of, token, does),
                        );
                    }
                    steps.extend(this().is(of, Process::Idle).send(of, token, Does::Unlock));
                }
                Process::Holds(token, until) => {
                    let renews = self
                        .under_way
                        .iter()
                        .any(|command| command.token == token && command.does == Does::Renew);
                    if !renews && NOW < until {
                        steps.extend(this().send(of, token, Does::Renew));
                    }
                    let gone = this().is(of, Process::Idle).forsaken(of, HeardBy::Nobody);
                    steps.extend(gone.send(of, token, Does::Unlock));
                }
            }
            if self.deaths > 0 && process != Process::Idle {
                let mut dead = this().is(of, Process::Idle).forsaken(of, HeardBy::Nobody);
                dead.deaths -= 1;
                steps.push(dead);
            }
        }
        if self.losses > 0 && self.standing.is_some() {
            steps.push(Self { standing: None, losses: self.losses - 1, ..self.clone() });
        }
        if self.steps_back > 0 {
            // The server's clock alone: to it, everything is later by so much.
            let mut back = self.clone();
            back.steps_back -= 1;
            if let Some(standing) = &mut back.standing {
                back.fence += TICK * 1000;
                standing.fence += TICK * 1000;
                standing.ends += TICK;
                standing.written += TICK;
                standing.places.iter_mut().for_each(|(_, ends)| *ends += TICK);
            }
            steps.push(back.normal());
        }
        Ok(steps)
    }

    /// How many could act under the lock at this moment.
    fn holders(&self) -> usize {
        let holds =
            |process: &&Process| matches!(process, Process::Holds(_, until) if NOW < *until);
        self.processes.iter().filter(holds).count()
    }

    /// That all who want the lock get it, one after another, once nothing more goes wrong; by asking again
    /// alone, for nobody is told anything here. Then nothing is left of anybody.
    fn comes_to_rest(&self) -> Result<(), String> {
        let mut state = self.clone();
        let (mut open, mut ticks) = (state.wanting(), 0);
        while !open.is_empty() || !state.is_idle() {
            while let Some(number) = state.under_way.len().checked_sub(1) {
                state = state.execute(number)?;
            }
            for of in 0..state.processes.len() {
                state = match state.processes[of] {
                    Process::Waits(token) => {
                        let asks = state.is(of, Process::Asks(token, true));
                        asks.send(of, token, Does::Wait).ok_or("no room")?
                    }
                    Process::Holds(token, _) => {
                        open.retain(|wanting| *wanting != of);
                        let idle = state.is(of, Process::Idle);
                        idle.send(of, token, Does::Unlock).ok_or("no room")?
                    }
                    Process::Idle if open.contains(&of) => {
                        let token = state.token(of, 9).ok_or("no token")?;
                        let asks = state.is(of, Process::Asks(token, false));
                        asks.send(of, token, Does::Wait).ok_or("no room")?
                    }
                    Process::Idle | Process::Asks(..) => state,
                };
                while let Some(number) = state.under_way.len().checked_sub(1) {
                    state = state.execute(number)?;
                }
            }
            state = state.passed(TICK, TICK * 1000);
            ticks += 1;
            // A lease, a step of the clock, a place for each that may be gone, and a turn for each.
            let most = LEASE / TICK + 2 + (COUNTS / TICK) * 3 + 2 * state.processes.len() as u64;
            if ticks > most {
                return Err(format!("nobody gets any further: {state:?}"));
            }
        }
        Ok(())
    }

    fn wanting(&self) -> Vec<usize> {
        let wants = |of: &usize| {
            let wants = |command: &Command| command.of == *of && command.does == Does::Wait;
            match self.processes[*of] {
                Process::Waits(_) => true,
                Process::Asks(..) => self.under_way.iter().any(wants),
                _ => false,
            }
        };
        (0..self.processes.len()).filter(wants).collect()
    }

    fn is_idle(&self) -> bool {
        let standing = self.standing.as_ref().map(|standing| standing.at(NOW));
        let is_free = standing.is_none_or(|lock| lock.holder == 0 && lock.places.is_empty());
        is_free && self.processes.iter().all(|process| *process == Process::Idle)
    }
}

/// Visits every state, and says how many there are; or what is wrong, and where.
///
/// # Errors
///
/// Something is wrong.
pub fn explore(configuration: &Configuration, broken: Option<Broken>) -> Result<usize, String> {
    let hasher = RandomState::new();
    let initial = State::new(configuration, broken);
    let mut seen = HashSet::from([hasher.hash_one(&initial)]);
    let mut open = VecDeque::from([initial]);
    while let Some(state) = open.pop_front() {
        let is_exclusive = configuration.losses == 0;
        let wrong = if is_exclusive && state.holders() > 1 {
            Err("two have it".to_owned())
        } else {
            state.comes_to_rest()
        };
        let steps = wrong.and_then(|()| state.steps());
        for step in steps.map_err(|wrong| format!("{wrong}: {state:?}"))? {
            if seen.insert(hasher.hash_one(&step)) {
                open.push_back(step);
            }
        }
    }
    Ok(seen.len())
}
