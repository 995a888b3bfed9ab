//! Visits every state of a model, nearest first, so that the first violation found has the shortest
//! trace.
//!
//! A state is remembered by 64 bits of hash. Of `n` states two share them with a chance of about
//! `n² / 2⁶⁵`: 1 in 400,000 for ten million, which is what "all" means here. A trace is found
//! again by following the hashes from the beginning.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// What is explored.
pub trait Model {
    /// One moment of it.
    type State: Copy + Hash + fmt::Debug;
    /// What a step is called in a trace.
    type Label: fmt::Display;
    /// A rule that a state can break.
    type Rule: Copy;

    /// Where everything begins.
    fn initial(&self) -> Self::State;

    /// Adds what can happen next.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Step<Self>>);

    /// The rule that this state breaks.
    fn broken_rule(&self, state: &Self::State) -> Option<Self::Rule>;

    /// Whether nobody in this state waits for anything.
    fn is_finished(&self, state: &Self::State) -> bool;
}

/// Something that can happen.
#[derive(Debug)]
pub struct Step<M: Model + ?Sized> {
    /// What it is called.
    pub label: M::Label,
    /// What comes of it.
    pub after: M::State,
    /// Whether it comes about by itself: nobody may have to hope for one that does not.
    pub is_certain: bool,
}

/// What an exploration came to.
#[derive(Debug)]
pub struct Explored<R> {
    /// How many states were seen.
    pub states: usize,
    /// How many steps lead to the farthest of them.
    pub depth: usize,
    /// Why it ended.
    pub end: End<R>,
}

/// Why an exploration ended.
#[derive(Debug)]
pub enum End<R> {
    /// Everything was visited, and nothing is wrong.
    All,
    /// There are more states than were to be visited. Of those that were, none is wrong.
    Cut,
    /// Something is wrong.
    Wrong(Wrong<R>, Trace),
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong<R> {
    /// A state breaks a rule.
    Rule(R),
    /// Somebody waits for something that need not come.
    DeadEnd,
    /// Some steps lead back to where they began, so that they can be taken for ever.
    Circle,
}

impl<R: fmt::Debug> fmt::Display for Wrong<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "{rule:?} broken"),
            Self::DeadEnd => f.write_str("a dead end"),
            Self::Circle => f.write_str("a circle"),
        }
    }
}

/// The steps to a state, and each state that they lead to.
pub type Trace = Vec<(String, String)>;

/// Where each state was found, and what comes after it.
struct Seen {
    numbers: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    hashes: Vec<u64>,
    parents: Vec<u32>,
    /// The numbers of the states that come after each one, all in one; those of number `n` begin at
    /// `offsets[n]`.
    next: Vec<u32>,
    offsets: Vec<usize>,
}

/// Visits the states of a model, but not more than `most`.
pub fn explore<M: Model>(model: &M, most: usize) -> Explored<M::Rule> {
    let mut seen = Seen {
        numbers: HashMap::default(),
        hashes: Vec::new(),
        parents: Vec::new(),
        next: Vec::new(),
        offsets: Vec::new(),
    };
    let initial = model.initial();
    seen.number(&initial, 0);
    let (mut level, mut depth) = (vec![initial], 0);
    let mut steps = Vec::new();
    // The states are numbered in the order in which they are found, which is that of the levels.
    let mut number = 0;
    loop {
        let mut next_level = Vec::new();
        for state in &level {
            steps.clear();
            model.steps(state, &mut steps);
            let wrong = if let Some(rule) = model.broken_rule(state) {
                Some(Wrong::Rule(rule))
            } else if steps.iter().all(|step| !step.is_certain) && !model.is_finished(state) {
                Some(Wrong::DeadEnd)
            } else {
                None
            };
            if let Some(wrong) = wrong {
                return seen.explored(depth, End::Wrong(wrong, seen.trace(model, number)));
            }
            seen.offsets.push(seen.next.len());
            for step in &steps {
                let (next, is_new) = seen.number(&step.after, number);
                seen.next.push(next);
                if is_new {
                    next_level.push(step.after);
                }
            }
            if seen.hashes.len() > most {
                return seen.explored(depth, End::Cut);
            }
            number += 1;
        }
        if next_level.is_empty() {
            break;
        }
        (level, depth) = (next_level, depth + 1);
    }
    seen.offsets.push(seen.next.len());
    match seen.circle() {
        Some(number) => seen.explored(depth, End::Wrong(Wrong::Circle, seen.trace(model, number))),
        None => seen.explored(depth, End::All),
    }
}

impl Seen {
    /// The number of a state, and whether it is seen for the first time.
    fn number<S: Hash>(&mut self, state: &S, parent: u32) -> (u32, bool) {
        let hash = hash(state);
        let new = self.hashes.len() as u32;
        match self.numbers.entry(hash) {
            Entry::Occupied(entry) => (*entry.get(), false),
            Entry::Vacant(entry) => {
                entry.insert(new);
                self.hashes.push(hash);
                self.parents.push(parent);
                (new, true)
            }
        }
    }

    fn explored<R>(&self, depth: usize, end: End<R>) -> Explored<R> {
        Explored { states: self.hashes.len(), depth, end }
    }

    /// The steps from the beginning to a state.
    fn trace<M: Model>(&self, model: &M, mut number: u32) -> Trace {
        let mut path = Vec::new();
        while number != 0 {
            path.push(self.hashes[number as usize]);
            number = self.parents[number as usize];
        }
        let (mut state, mut trace) = (model.initial(), Trace::new());
        for next in path.into_iter().rev() {
            let mut steps = Vec::new();
            model.steps(&state, &mut steps);
            if let Some(step) = steps.into_iter().find(|step| hash(&step.after) == next) {
                state = step.after;
                trace.push((step.label.to_string(), format!("{state:?}")));
            }
        }
        trace
    }

    /// A state that some steps lead back to, or one behind such a state: takes away the states that
    /// nothing leads to until there are none.
    fn circle(&self) -> Option<u32> {
        let mut leading_here = vec![0_u32; self.hashes.len()];
        for next in &self.next {
            leading_here[*next as usize] += 1;
        }
        let mut free: Vec<u32> = (0..self.hashes.len() as u32)
            .filter(|number| leading_here[*number as usize] == 0)
            .collect();
        while let Some(number) = free.pop() {
            let number = number as usize;
            for next in &self.next[self.offsets[number]..self.offsets[number + 1]] {
                leading_here[*next as usize] -= 1;
                if leading_here[*next as usize] == 0 {
                    free.push(*next);
                }
            }
        }
        leading_here.iter().position(|count| *count > 0).map(|number| number as u32)
    }
}

fn hash<S: Hash>(state: &S) -> u64 {
    let mut folded = Folded { hash: 0x9e37_79b9_7f4a_7c15, word: 0, bits: 0 };
    state.hash(&mut folded);
    folded.fold();
    folded.fold();
    folded.hash
}

/// Eight bytes at a time are multiplied into 128 bits and folded. The standard library's own would
/// take half of the time of an exploration.
struct Folded {
    hash: u64,
    word: u64,
    bits: u32,
}

impl Folded {
    fn fold(&mut self) {
        let product = u128::from(self.hash ^ self.word) * 0xa076_1d64_78bd_642f;
        self.hash = (product >> 64) as u64 ^ product as u64;
        (self.word, self.bits) = (0, 0);
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.word |= u64::from(byte) << self.bits;
        self.bits += 8;
        if self.bits == 64 {
            self.fold();
        }
    }

    /// The variant of an enum, which has fewer than 256.
    fn write_isize(&mut self, variant: isize) {
        self.write_u8(variant.cast_unsigned() as u8);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// Of what is a hash already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0, with what can be added or taken away.
    struct Numbers {
        by: Vec<i32>,
        most: i32,
        wrong: i32,
        /// Above this nothing happens by itself.
        certain_to: i32,
    }

    impl Model for Numbers {
        type State = i32;
        type Label = String;
        type Rule = ();

        fn initial(&self) -> i32 {
            0
        }

        fn steps(&self, state: &i32, steps: &mut Vec<Step<Self>>) {
            let after = self.by.iter().map(|by| (by, state + by));
            steps.extend(after.filter(|(_, after)| (0..=self.most).contains(after)).map(
                |(by, after)| Step {
                    label: format!("{by:+}"),
                    after,
                    is_certain: *state < self.certain_to,
                },
            ));
        }

        fn broken_rule(&self, state: &i32) -> Option<()> {
            (*state == self.wrong).then_some(())
        }

        fn is_finished(&self, state: &i32) -> bool {
            *state == self.most
        }
    }

    fn numbers() -> Numbers {
        Numbers { by: vec![1, 5], most: 100, wrong: -1, certain_to: 100 }
    }

    #[test]
    fn every_state_is_visited() {
        let explored = explore(&numbers(), 1_000);
        assert!(matches!(explored.end, End::All), "{explored:?}");
        assert_eq!((explored.states, explored.depth), (101, 23));
    }

    #[test]
    fn the_trace_is_the_shortest() {
        let explored = explore(&Numbers { wrong: 12, ..numbers() }, 1_000);
        let End::Wrong(Wrong::Rule(()), trace) = explored.end else { panic!("{explored:?}") };
        let mut labels: Vec<_> = trace.iter().map(|(label, _)| label.as_str()).collect();
        labels.sort_unstable();
        assert_eq!(labels, ["+1", "+1", "+5", "+5"]);
        assert_eq!(trace[3].1, "12");
    }

    #[test]
    fn a_dead_end_is_found() {
        let explored = explore(&Numbers { by: vec![3], ..numbers() }, 1_000);
        let End::Wrong(Wrong::DeadEnd, trace) = explored.end else { panic!("{explored:?}") };
        assert_eq!(trace.last().unwrap().1, "99");
    }

    #[test]
    fn a_step_that_need_not_come_is_nothing_to_wait_for() {
        let explored = explore(&Numbers { certain_to: 50, ..numbers() }, 1_000);
        assert!(matches!(explored.end, End::Wrong(Wrong::DeadEnd, _)), "{explored:?}");
    }

    #[test]
    fn a_circle_is_found() {
        let explored = explore(&Numbers { by: vec![5, -2], ..numbers() }, 1_000);
        assert!(matches!(explored.end, End::Wrong(Wrong::Circle, _)), "{explored:?}");
    }

    #[test]
    fn a_cut_is_no_proof() {
        let explored = explore(&numbers(), 50);
        assert!(matches!(explored.end, End::Cut), "{explored:?}");
    }
}
