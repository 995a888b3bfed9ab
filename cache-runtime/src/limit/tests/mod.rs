//! The algorithms against what they are by definition: a log of all that was granted.

mod changes;
mod reference;
mod table;

use proptest::prelude::*;

use self::reference::{Bucket, Log, Windows};
use super::*;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;
/// Some moment by the clock of a server.
const EPOCH: u64 = 1_790_000_000 * SECOND + 123_456;

const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];

/// A rule, and the same as a reference is made from it.
#[derive(Debug, Clone, Copy)]
struct Case {
    algorithm: Algorithm,
    limit: u32,
    per: u64,
    burst: u32,
}

impl Case {
    fn rule(self) -> Rule {
        let burst = (self.algorithm == Algorithm::Gcra).then_some(self.burst);
        Rule::new(self.algorithm, self.limit, Duration::from_micros(self.per), burst)
    }

    fn log(self) -> Box<dyn Log> {
        match self.algorithm {
            Algorithm::Gcra => Box::new(Bucket::new(self.limit, self.per, self.burst)),
            Algorithm::FixedWindow => Box::new(Windows::fixed(self.limit, self.per)),
            Algorithm::SlidingWindow => Box::new(Windows::sliding(self.limit, self.per)),
        }
    }

    /// As many as are ever allowed at once.
    fn most(self) -> u32 {
        if self.algorithm == Algorithm::Gcra { self.burst } else { self.limit }
    }
}

/// How long it takes until the next step comes.
#[derive(Debug, Clone, Copy)]
enum Pause {
    None,
    /// So much of the time of the limit, of 10,000.
    Part(u16),
    /// About as long as this many calls take, in hundredths of one.
    Calls(u16),
    /// Exactly as long as the last denial said, or a microsecond less.
    Retry,
    JustBeforeRetry,
    /// Until everything is back, or a microsecond less.
    Reset,
    JustBeforeReset,
    /// Several times.
    Times(u8),
}

fn pauses() -> impl Strategy<Value = Pause> {
    prop_oneof![
        4 => Just(Pause::None),
        3 => (0..10_000_u16).prop_map(Pause::Part),
        4 => (0..400_u16).prop_map(Pause::Calls),
        3 => Just(Pause::Retry),
        2 => Just(Pause::JustBeforeRetry),
        1 => Just(Pause::Reset),
        1 => Just(Pause::JustBeforeReset),
        1 => (0..4_u8).prop_map(Pause::Times),
    ]
}

/// Of each limit as much as matters: single calls, a part of what fits, all of it and more.
#[derive(Debug, Clone, Copy)]
enum Do {
    Take(u8),
    TakePart(u8),
    TakeAll,
    /// What the last answer said there was, and one more.
    TakeRemaining,
    TakeOneTooMany,
    TakeMoreThanFits,
    Refund(u8),
    RefundPart(u8),
    RefundTooMuch,
    Reset,
}

fn takes() -> impl Strategy<Value = Do> {
    prop_oneof![
        8 => (0..4_u8).prop_map(Do::Take),
        4 => any::<u8>().prop_map(Do::TakePart),
        1 => Just(Do::TakeAll),
        2 => Just(Do::TakeRemaining),
        2 => Just(Do::TakeOneTooMany),
        1 => Just(Do::TakeMoreThanFits),
    ]
}

fn steps() -> impl Strategy<Value = Do> {
    prop_oneof![
        12 => takes(),
        2 => (0..4_u8).prop_map(Do::Refund),
        1 => any::<u8>().prop_map(Do::RefundPart),
        1 => Just(Do::RefundTooMuch),
        1 => Just(Do::Reset),
    ]
}

/// From one per hour to a hundred thousand per second, with and without a remainder, and beyond.
fn rates() -> impl Strategy<Value = (u32, u64)> {
    prop_oneof![
        Just((1, HOUR)),
        Just((7, HOUR)),
        Just((10, 60 * SECOND)),
        Just((7, SECOND)),
        Just((1_000, SECOND)),
        Just((99_991, SECOND)),
        Just((100_000, SECOND)),
        Just((3_333_333, SECOND)),
        Just((u32::MAX, SECOND)),
        Just((u32::MAX, 1)),
        Just((1_000_003, 24 * HOUR)),
        (1..200_u32, 1..5_000_u64),
        (1..200_000_u32, 1..40_000_000_000_u64),
        (1..=u32::MAX, 1..=LONGEST),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let burst = prop_oneof![Just(None), Just(Some(1)), (1..300_u32).prop_map(Some)];
    (prop::sample::select(ALGORITHMS.as_slice()), rates(), burst).prop_map(
        |(algorithm, (limit, per), burst)| {
            // A larger one is smaller by definition, which has a test of its own.
            let most = u128::from(LONGEST) * u128::from(limit) / u128::from(per);
            let burst = burst.unwrap_or(limit).min(u32::try_from(most).unwrap_or(u32::MAX));
            Case { algorithm, limit, per, burst }
        },
    )
}

/// A limit that is used.
struct Run {
    case: Case,
    rule: Rule,
    state: Option<State>,
    log: Box<dyn Log>,
    now: u64,
    last: Limited,
}

impl Run {
    fn new(case: Case) -> Self {
        let (rule, log) = (case.rule(), case.log());
        let (state, last) = rule.decide(None, Step::Take(0), EPOCH);
        Self { case, rule, state, log, now: EPOCH, last }
    }

    fn pause(&mut self, pause: Pause) {
        let Case { limit, per, .. } = self.case;
        let part =
            |of: u64, whole: u64| small(u128::from(per) * u128::from(of) / u128::from(whole));
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        let retry = match self.last.verdict {
            Verdict::Denied { retry_after } => micros(retry_after),
            Verdict::Allowed | Verdict::Never => 0,
        };
        self.now += match pause {
            Pause::None => 0,
            Pause::Part(part_of) => part(part_of.into(), 10_000),
            Pause::Calls(hundredths) => part(hundredths.into(), 100 * u64::from(limit)),
            Pause::Retry => retry,
            Pause::JustBeforeRetry => retry.saturating_sub(1),
            Pause::Reset => micros(self.last.reset_after),
            Pause::JustBeforeReset => micros(self.last.reset_after).saturating_sub(1),
            Pause::Times(times) => per * u64::from(times),
        };
    }

    fn step(&self, what: Do) -> Step {
        let most = self.case.most();
        let part = |part: u8| (u64::from(most) * u64::from(part) / 256) as u32;
        match what {
            Do::Take(cost) => Step::Take(cost.into()),
            Do::TakePart(of) => Step::Take(part(of)),
            Do::TakeAll => Step::Take(most),
            Do::TakeRemaining => Step::Take(self.last.remaining),
            Do::TakeOneTooMany => Step::Take(self.last.remaining.saturating_add(1)),
            Do::TakeMoreThanFits => Step::Take(most.saturating_add(1)),
            Do::Refund(cost) => Step::Refund(cost.into()),
            Do::RefundPart(of) => Step::Refund(part(of)),
            Do::RefundTooMuch => Step::Refund(u32::MAX),
            Do::Reset => Step::Reset,
        }
    }

    /// Does it, and compares everything that is said with the log.
    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        let (now, most) = (self.now, u64::from(self.case.most()));
        let expected = match step {
            Step::Take(cost) => self.log.fits(now, cost.into()),
            Step::Refund(_) | Step::Reset => true,
        };
        let (state, limited) = self.rule.decide(self.state, step, now);
        match limited.verdict {
            Verdict::Allowed => prop_assert!(expected),
            Verdict::Never => prop_assert!(!expected && u64::from(step.cost()) > most),
            Verdict::Denied { retry_after } => {
                prop_assert!(!expected && u64::from(step.cost()) <= most);
                let retry = now + u64::try_from(retry_after.as_micros()).unwrap();
                prop_assert!(self.log.fits(retry, step.cost().into()));
                prop_assert!(!self.log.fits(retry - 1, step.cost().into()));
                // And so it is in the end.
                let decide = |at| self.rule.decide(state, step, at).1.verdict;
                prop_assert_eq!(decide(retry), Verdict::Allowed);
                let a_micro = Duration::from_micros(1);
                prop_assert_eq!(decide(retry - 1), Verdict::Denied { retry_after: a_micro });
            }
        }
        if expected {
            self.log.note(now, step);
        }
        let remaining = u64::from(limited.remaining);
        prop_assert!(self.log.fits(now, remaining));
        prop_assert!(!self.log.fits(now, remaining + 1));
        let reset = now + u64::try_from(limited.reset_after.as_micros()).unwrap();
        prop_assert!(self.log.fits(reset, most));
        prop_assert!(reset == now || !self.log.fits(reset - 1, most));
        match state {
            None => prop_assert_eq!(reset, now),
            Some(state) => prop_assert_eq!(self.rule.over_at(state), reset),
        }
        (self.state, self.last) = (state, limited);
        Ok(())
    }
}

/// What was granted of a case, and when.
fn granted(case: Case, all: Vec<(Pause, Do)>) -> Result<(Run, Vec<(u64, u64)>), TestCaseError> {
    let (mut run, mut granted) = (Run::new(case), Vec::new());
    for (pause, what) in all {
        run.pause(pause);
        let step = run.step(what);
        run.run(step)?;
        if run.last.verdict == Verdict::Allowed {
            granted.push((run.now, u64::from(step.cost())));
        }
    }
    Ok((run, granted))
}

/// The most that any time from a grant on has that is so long, its end included.
fn most_within(granted: &[(u64, u64)], length: u64) -> u64 {
    let from = |at: usize| {
        let until = granted[at].0 + length;
        granted[at..].iter().take_while(|(time, _)| *time <= until).map(|(_, cost)| cost).sum()
    };
    (0..granted.len()).map(from).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_that_of_the_log(
        case in cases(),
        all in prop::collection::vec((pauses(), steps()), 1..60),
    ) {
        granted(case, all)?;
    }

    #[test]
    fn any_time_of_the_length_has_the_burst_and_the_limit_at_most(
        case in cases().prop_map(|case| Case { algorithm: Algorithm::Gcra, ..case }),
        all in prop::collection::vec((pauses(), takes()), 1..100),
    ) {
        let Case { limit, per, burst, .. } = case;
        let (_, granted) = granted(case, all)?;
        prop_assert!(most_within(&granted, per) <= u64::from(burst) + u64::from(limit));
        // And so of any other length: what drains meanwhile.
        for length in [0, per / 7, per / 2, 3 * per] {
            let drained = small(u128::from(length) * u128::from(limit) / u128::from(per));
            prop_assert!(most_within(&granted, length) <= u64::from(burst) + drained);
        }
    }

    #[test]
    fn a_fixed_window_has_the_limit_at_most(
        case in cases().prop_map(|case| Case { algorithm: Algorithm::FixedWindow, ..case }),
        all in prop::collection::vec((pauses(), takes()), 1..100),
    ) {
        let (_, granted) = granted(case, all)?;
        for (first, _) in &granted {
            let window = |time: u64| time / case.per;
            let of_it = granted.iter().filter(|(time, _)| window(*time) == window(*first));
            prop_assert!(of_it.map(|(_, cost)| cost).sum::<u64>() <= u64::from(case.limit));
        }
    }

    #[test]
    fn a_sliding_window_has_the_limit_in_each_window_and_less_than_twice_that_across_two(
        case in cases().prop_map(|case| Case { algorithm: Algorithm::SlidingWindow, ..case }),
        all in prop::collection::vec((pauses(), takes()), 1..100),
    ) {
        let (_, granted) = granted(case, all)?;
        prop_assert!(most_within(&granted, case.per - 1) <= 2 * u64::from(case.limit));
        for (first, _) in &granted {
            let window = |time: u64| time / case.per;
            let of_it = granted.iter().filter(|(time, _)| window(*time) == window(*first));
            prop_assert!(of_it.map(|(_, cost)| cost).sum::<u64>() <= u64::from(case.limit));
        }
    }
}

fn case(algorithm: Algorithm, limit: u32, per: u64) -> Run {
    Run::new(Case { algorithm, limit, per, burst: limit })
}

impl Run {
    fn take(&mut self, cost: u32) -> Verdict {
        self.run(Step::Take(cost)).unwrap();
        self.last.verdict
    }

    /// How many single calls are allowed at once.
    fn drain(&mut self) -> u32 {
        let mut taken = 0;
        while self.take(1) == Verdict::Allowed {
            taken += 1;
        }
        taken
    }
}

#[test]
fn no_call_is_lost_at_a_rate_that_does_not_divide_a_second() {
    // Each takes 142,857 microseconds and a seventh.
    let mut run = Run::new(Case { algorithm: Algorithm::Gcra, limit: 7, per: SECOND, burst: 1 });
    let (mut taken, end) = (0, EPOCH + 100 * SECOND);
    while run.now < end {
        match run.take(1) {
            Verdict::Allowed => taken += 1,
            Verdict::Denied { retry_after } => {
                run.now += u64::try_from(retry_after.as_micros()).unwrap();
            }
            Verdict::Never => unreachable!(),
        }
    }
    assert_eq!(taken, 700);
}

#[test]
fn a_hundred_thousand_per_second_come_in_time() {
    // As many as a greedy caller gets that asks each microsecond.
    let per_second = |limit, burst| {
        let rule = Rule::new(Algorithm::Gcra, limit, Duration::from_secs(1), Some(burst));
        let (mut state, mut taken) = (None, 0);
        for now in EPOCH..EPOCH + SECOND {
            let (left, limited) = rule.decide(state, Step::Take(1), now);
            taken += u32::from(limited.verdict == Verdict::Allowed);
            state = left;
        }
        taken
    };
    assert_eq!(per_second(100_000, 1), 100_000);
    assert_eq!(per_second(99_991, 2), 99_991 + 1);
    assert_eq!(per_second(99_991, 50), 99_991 + 49);
    // Evenly spaced, by a clock of microseconds: each waits for 11 of them, of which it needs 10.0009.
    assert_eq!(per_second(99_991, 1), SECOND.div_ceil(11) as u32);
    assert_eq!(per_second(1, 1), 1);
}

#[test]
fn a_sliding_window_lets_through_almost_twice_the_limit() {
    let mut run = case(Algorithm::SlidingWindow, 1000, SECOND);
    // Just before the end of a window, and just before the end of the next one.
    run.now = EPOCH / SECOND * SECOND + SECOND - 1;
    assert_eq!(run.drain(), 1000);
    run.now += SECOND - 1;
    assert_eq!(run.drain(), 999);
}

#[test]
fn a_fixed_window_lets_through_twice_the_limit_at_its_end() {
    let mut run = case(Algorithm::FixedWindow, 1000, SECOND);
    run.now = EPOCH / SECOND * SECOND + SECOND - 1;
    assert_eq!(run.drain(), 1000);
    run.now += 1;
    assert_eq!(run.drain(), 1000);
}

#[test]
fn one_per_hour_is_one_per_hour() {
    for algorithm in ALGORITHMS {
        let mut run = case(algorithm, 1, HOUR);
        run.now = EPOCH / HOUR * HOUR;
        for _ in 0..50 {
            assert_eq!(run.drain(), 1);
            let Verdict::Denied { retry_after } = run.last.verdict else { panic!() };
            // A sliding window has all of the one before at its beginning.
            let windows = if algorithm == Algorithm::SlidingWindow { 2 } else { 1 };
            assert_eq!(retry_after, Duration::from_micros(HOUR) * windows);
            run.now += HOUR * u64::from(windows);
        }
    }
}

#[test]
fn a_limit_of_nothing_allows_nothing() {
    for algorithm in ALGORITHMS {
        for limit in [0, 5] {
            if limit > 0 && algorithm != Algorithm::Gcra {
                continue;
            }
            let rule = Rule::new(algorithm, limit, Duration::from_secs(1), Some(0));
            for (step, verdict) in [
                (Step::Take(0), Verdict::Allowed),
                (Step::Take(1), Verdict::Never),
                (Step::Take(u32::MAX), Verdict::Never),
                (Step::Refund(3), Verdict::Allowed),
                (Step::Reset, Verdict::Allowed),
            ] {
                let limited = Limited { verdict, remaining: 0, reset_after: Duration::ZERO };
                assert_eq!(rule.decide(None, step, EPOCH), (None, limited), "{algorithm:?}");
            }
        }
    }
}

#[test]
fn times_that_nobody_means_are_times_all_the_same() {
    for algorithm in ALGORITHMS {
        for (limit, per) in [
            (1, Duration::ZERO),
            (u32::MAX, Duration::from_nanos(1)),
            (1, Duration::MAX),
            (u32::MAX, Duration::MAX),
            (3, Duration::from_secs(200 * 365 * 24 * 3600)),
        ] {
            let rule = Rule::new(algorithm, limit, per, Some(u32::MAX));
            let (state, limited) = rule.decide(None, Step::Take(1), EPOCH);
            assert_eq!(limited.verdict, Verdict::Allowed);
            assert!(limited.reset_after <= 2 * Duration::from_micros(LONGEST));
            assert!(rule.over_at(state.unwrap()) < 1 << 53, "a number of Lua");
            let (_, limited) = rule.decide(state, Step::Take(limited.remaining), EPOCH);
            assert_eq!(limited.verdict, Verdict::Allowed);
        }
    }
}
