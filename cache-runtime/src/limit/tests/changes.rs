//! Clocks that are put back, and limits that change while they are in use.

use super::*;

/// So much is left of what a rule allows.
fn remaining(rule: Rule, state: Option<State>, now: u64) -> u32 {
    rule.decide(state, Step::Take(0), now).1.remaining
}

fn wait(rule: Rule, state: Option<State>, now: u64) -> u64 {
    match rule.decide(state, Step::Take(1), now).1.verdict {
        Verdict::Allowed => 0,
        Verdict::Denied { retry_after } => u64::try_from(retry_after.as_micros()).unwrap(),
        Verdict::Never => u64::MAX,
    }
}

fn rule(algorithm: Algorithm, limit: u32, seconds: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_secs(seconds), None)
}

/// Everything that fits at that moment, taken.
fn full(rule: Rule, now: u64) -> Option<State> {
    let most = remaining(rule, None, now);
    rule.decide(None, Step::Take(most), now).0
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever has become of the clock and of the limit, nobody waits for longer than the old limit or
    /// the new one lets wait, and what an answer says comes true.
    #[test]
    fn nobody_waits_for_a_clock_to_come_back(
        before in cases(),
        after in cases(),
        same in any::<bool>(),
        at in EPOCH - HOUR..EPOCH + HOUR,
        taken in takes(),
    ) {
        let (before, after) = if same { (before, before) } else { (before, after) };
        let mut run = Run::new(before);
        run.now = at;
        let step = run.step(taken);
        run.run(step)?;
        let (rule, most) = (after.rule(), after.most());
        let wait = wait(rule, run.state, EPOCH);
        let longest = match after.algorithm {
            Algorithm::Gcra => {
                let all = |case: Case| {
                    let time = u128::from(case.per) * u128::from(case.burst);
                    time.div_ceil(u128::from(case.limit))
                };
                all(before).max(all(after)) + 1
            }
            Algorithm::FixedWindow => 2 * u128::from(after.per),
            Algorithm::SlidingWindow => 3 * u128::from(after.per),
        };
        prop_assert!(u128::from(wait) <= longest);
        let (state, limited) = rule.decide(run.state, Step::Take(most), EPOCH);
        prop_assert!(limited.remaining <= most);
        if let Verdict::Denied { retry_after } = limited.verdict {
            let retry = EPOCH + u64::try_from(retry_after.as_micros()).unwrap();
            let decide = |at| rule.decide(state, Step::Take(most), at).1.verdict;
            prop_assert_ne!(decide(retry - 1), Verdict::Allowed);
            // Windows that begin at other moments are other windows.
            if same || after.algorithm == Algorithm::Gcra {
                prop_assert_eq!(decide(retry), Verdict::Allowed);
            }
        }
    }
}

#[test]
fn nothing_comes_back_to_a_bucket_while_the_clock_goes_back() {
    let rule = rule(Algorithm::Gcra, 10, 10);
    let second = Duration::from_secs(1);
    for back in [1, SECOND, HOUR] {
        let earlier = EPOCH - back;
        let (state, limited) = rule.decide(full(rule, EPOCH), Step::Take(1), earlier);
        assert_eq!(limited.verdict, Verdict::Denied { retry_after: second });
        assert_eq!(limited.reset_after, 10 * second);
        // From then on time goes as it should.
        assert_eq!(wait(rule, state, earlier + SECOND - 1), 1);
        assert_eq!(wait(rule, state, earlier + SECOND), 0);
    }
}

#[test]
fn a_window_that_has_begun_runs_on_when_the_clock_is_put_back_a_little() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let rule = rule(algorithm, 10, 10);
        let begins = EPOCH / (10 * SECOND) * (10 * SECOND);
        let state = rule.decide(None, Step::Take(4), begins).0;
        // In the one before: it has had its limit, as far as anybody knows.
        let (state, limited) = rule.decide(state, Step::Take(7), begins - 5);
        assert!(matches!(limited.verdict, Verdict::Denied { .. }));
        let (state, limited) = rule.decide(state, Step::Take(6), begins - 5);
        assert_eq!(limited.verdict, Verdict::Allowed);
        assert_eq!(remaining(rule, state, begins + 5), 0);
    }
}

#[test]
fn what_was_taken_counts_in_the_window_of_now_when_the_clock_is_put_back_by_more() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let rule = rule(algorithm, 10, 10);
        let state = rule.decide(None, Step::Take(4), EPOCH).0;
        let (state, limited) = rule.decide(state, Step::Take(7), EPOCH - HOUR);
        assert!(matches!(limited.verdict, Verdict::Denied { .. }));
        assert_eq!(remaining(rule, state, EPOCH - HOUR), 6);
        assert_eq!(remaining(rule, state, EPOCH - HOUR + 20 * SECOND), 10);
    }
}

#[test]
fn what_was_taken_from_a_bucket_comes_back_when_it_would_have_without_a_change() {
    let before = rule(Algorithm::Gcra, 1000, 10);
    let half = before.decide(None, Step::Take(500), EPOCH).0;
    // Of another rate: as full as it was.
    for limit in [100, 10_000, 7_000] {
        assert_eq!(remaining(rule(Algorithm::Gcra, limit, 10), half, EPOCH), limit / 2);
    }
    // Of a longer time, of which it takes as much; of one that is not even as long.
    assert_eq!(remaining(rule(Algorithm::Gcra, 1000, 50), half, EPOCH), 900);
    let shorter = rule(Algorithm::Gcra, 1000, 1);
    assert_eq!(wait(shorter, half, EPOCH), 4 * SECOND + 1000);
    assert_eq!(remaining(shorter, half, EPOCH), 0);
    assert_eq!(remaining(shorter, half, EPOCH + 5 * SECOND), 1000);
}

#[test]
fn a_bucket_that_is_fuller_than_the_limit_allows_by_now_drains_as_it_would_have() {
    let (long, short) = (rule(Algorithm::Gcra, 10, 10), rule(Algorithm::Gcra, 10, 1));
    let mut state = full(long, EPOCH);
    // Denied, peeked at, and a little of it given back.
    for step in [Step::Take(1), Step::Take(0), Step::Refund(10)] {
        state = short.decide(state, step, EPOCH).0;
        assert_eq!(remaining(short, state, EPOCH), 0);
    }
    assert_eq!(remaining(long, state, EPOCH), 1);
    assert_eq!(wait(short, state, EPOCH), 8 * SECOND + SECOND / 10);
}

#[test]
fn two_limits_of_one_key_allow_no_more_than_the_wider_one() {
    // As while a new version replaces an old one.
    let rules = [rule(Algorithm::Gcra, 10, 1), rule(Algorithm::Gcra, 100, 60)];
    let (mut state, mut taken) = (None, 0);
    for tick in 0..60_000 {
        let rule = rules[usize::from(fastrand::bool())];
        let (left, limited) = rule.decide(state, Step::Take(1), EPOCH + tick * 1000);
        taken += u32::from(limited.verdict == Verdict::Allowed);
        state = left;
    }
    // The wider one has ten in each second, and a burst of a hundred.
    assert!((100..=600 + 100).contains(&taken), "{taken}");
}

#[test]
fn what_was_taken_in_a_window_is_taken_from_another_limit_of_the_same_length() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let (state, _) = rule(algorithm, 10, 60).decide(None, Step::Take(9), EPOCH);
        assert_eq!(remaining(rule(algorithm, 100, 60), state, EPOCH), 91);
        let less = rule(algorithm, 5, 60);
        assert_eq!(remaining(less, state, EPOCH), 0);
        let (_, limited) = less.decide(state, Step::Take(1), EPOCH);
        assert!(matches!(limited.verdict, Verdict::Denied { .. }));
    }
}

#[test]
fn what_one_kind_has_left_is_nothing_to_the_other() {
    for (one, other) in [
        (Algorithm::Gcra, Algorithm::FixedWindow),
        (Algorithm::Gcra, Algorithm::SlidingWindow),
        (Algorithm::FixedWindow, Algorithm::Gcra),
        (Algorithm::SlidingWindow, Algorithm::Gcra),
    ] {
        let (one, other) = (rule(one, 10, 10), rule(other, 10, 10));
        assert_eq!(remaining(other, full(one, EPOCH), EPOCH), 10);
    }
}
