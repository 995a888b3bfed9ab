//! The same steps through the scripts and through the algorithms in Rust, over long traces.

use super::*;

// A million together. By any clock it is also looked at what stands in Redis.
const STEPS: usize = 800_000;
const STEPS_BY_ANY_CLOCK: usize = 200_000;
const BATCH: usize = 500;

#[test]
fn by_the_servers_clock_the_scripts_say_what_the_algorithms_do() {
    let mut connection = connected();
    let mut random = fastrand::Rng::with_seed(17);
    // A key is asked about each tenth of a millisecond.
    let rates = [
        (1, HOUR),
        (100_000, SECOND),
        (7_000, SECOND),
        (99_991, 10 * SECOND),
        (30, 10_007),
        (1, 300),
        (1_000_003, SECOND),
    ];
    let mut keys: Vec<_> = ALGORITHMS
        .into_iter()
        .flat_map(|algorithm| rates.map(|(limit, per)| rule(algorithm, limit, per)))
        .map(|rule| (rule, None, [0, 0]))
        .collect();
    let names: Vec<_> = (0..keys.len()).map(|at| format!("limit:real:{at}")).collect();
    for _ in 0..STEPS / BATCH {
        let (mut pipe, mut steps) = (redis::pipe(), Vec::new());
        for _ in 0..BATCH {
            let at = random.usize(..keys.len());
            let rule = keys[at].0;
            let step = match random.u8(..40) {
                0 => Step::Reset,
                1..4 => Step::Refund(random.u32(..4)),
                4 => Step::Refund(random.u32(..)),
                5..8 => Step::Take(random.u32(..=most(rule).saturating_add(2))),
                8..12 => Step::Take(0),
                _ => Step::Take(random.u32(1..4)),
            };
            pipe.add_command(by_sha(&names[at], rule, step));
            steps.push((at, step));
        }
        let replies: Vec<Value> = pipe.query(&mut connection).unwrap();
        for ((at, step), reply) in steps.into_iter().zip(replies) {
            let (rule, state, counts) = &mut keys[at];
            let said = said(*rule, step, reply);
            let (left, expected) = expected(*rule, *state, step, said.now);
            assert_eq!(said, expected, "{rule:?} {state:?} {step:?}");
            *state = left;
            if !matches!(step, Step::Take(0)) {
                counts[usize::from(said.limited.verdict == Verdict::Allowed)] += 1;
            }
        }
        thread::sleep(Duration::from_micros(random.u64(..3_000)));
    }
    for (rule, _, counts) in keys {
        let fewest = STEPS / names.len() / 200;
        assert!(counts.iter().all(|count| *count > fewest), "{rule:?} {counts:?}");
    }
}

/// One key by a clock of its own, and the rules that it has in turn.
struct Key {
    name: String,
    rules: Vec<Rule>,
    now: u64,
    state: Option<State>,
    last: Limited,
}

/// Some moment that no server will see during a test, so that nothing expires.
const EPOCH: u64 = 2_600_000_000 * SECOND + 123_456;

impl Key {
    fn new(name: String, rules: Vec<Rule>) -> Self {
        let last = rules[0].decide(None, Step::Take(0), EPOCH).1;
        Self { name, rules, now: EPOCH, state: None, last }
    }

    /// What comes next, and what has to come of it. By then what stands there may have expired.
    fn next(&mut self, random: &mut fastrand::Rng) -> (Rule, Step, Said, bool) {
        let rule =
            self.rules[if random.u8(..10) == 0 { random.usize(..self.rules.len()) } else { 0 }];
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        let retry = match self.last.verdict {
            Verdict::Denied { retry_after } => micros(retry_after),
            Verdict::Allowed | Verdict::Never => 0,
        };
        let reset = micros(self.last.reset_after);
        let later = match random.u8(..20) {
            0..6 => 0,
            6 => 1,
            7..10 => retry,
            10 => retry.saturating_sub(1),
            11 => reset,
            12 => reset.saturating_sub(1),
            13 => random.u64(..2 * (reset + 1)),
            14..18 => random.u64(..=(reset + 1) / 8),
            _ => random.u64(..=(reset + 1) / 256),
        };
        self.now += later;
        let before = self.now;
        // A clock that somebody has set.
        self.now -= match random.u8(..100) {
            0 => random.u64(..1000),
            1 => random.u64(..=2 * reset.min(1 << 48)),
            _ => 0,
        };
        // No limit is used for centuries.
        if !(EPOCH / 2..EPOCH * 3 / 2).contains(&self.now) {
            self.now = EPOCH;
        }
        let (most, remaining) = (most(rule), self.last.remaining);
        let step = match random.u8(..30) {
            0 => Step::Reset,
            1..3 => Step::Refund(random.u32(..4)),
            3 => Step::Refund(random.u32(..=most)),
            4 => Step::Refund(random.u32(..)),
            5 => Step::Take(random.u32(..)),
            6 => Step::Take(most.saturating_add(1)),
            7 => Step::Take(most),
            8..11 => Step::Take(random.u32(..=most)),
            11..14 => Step::Take(remaining),
            14..16 => Step::Take(remaining.saturating_add(1)),
            16..18 => Step::Take(0),
            _ => Step::Take(random.u32(1..4)),
        };
        // What was of no use any more does not come back with the time.
        let is_over = self.state.is_none_or(|state| rule.over_at(state) <= before);
        let has_expired = self.now < before && is_over;
        if has_expired {
            self.state = None;
        }
        let (state, said) = expected(rule, self.state, step, self.now);
        (self.state, self.last) = (state, said.limited);
        (rule, step, said, has_expired)
    }
}

/// Limits from none to all that fits into a number, in times from a microsecond to decades; buckets
/// whose limit, time and burst change, and windows whose limit does.
fn keys() -> Vec<Key> {
    let rates = [
        (1, HOUR),
        (7, HOUR),
        (10, 60 * SECOND),
        (7, SECOND),
        (99_991, SECOND),
        (100_000, SECOND),
        (3_333_333, SECOND),
        (1_000_003, 24 * HOUR),
        (u32::MAX, SECOND),
        (u32::MAX, 1),
        (u32::MAX, LONGEST),
        (u32::MAX - 4, LONGEST - 27),
        (1, LONGEST),
        (3, 1),
        (0, SECOND),
    ];
    let mut keys = Vec::new();
    for algorithm in ALGORITHMS {
        for (at, (limit, per)) in rates.into_iter().enumerate() {
            let rules = match algorithm {
                Algorithm::Gcra => {
                    let (other, length) = rates[(at + 5) % rates.len()];
                    let times = Duration::from_micros;
                    vec![
                        Rule::new(algorithm, limit, times(per), None),
                        Rule::new(algorithm, limit, times(per), Some(1)),
                        Rule::new(algorithm, limit, times(per), Some(limit / 3 + 2)),
                        Rule::new(algorithm, other, times(per), None),
                        Rule::new(algorithm, other, times(length), None),
                    ]
                }
                Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                    [limit, limit / 2, limit.saturating_mul(3), 1]
                        .map(|limit| rule(algorithm, limit, per))
                        .to_vec()
                }
            };
            keys.push(Key::new(format!("limit:timed:{algorithm:?}:{at}"), rules));
        }
    }
    keys
}

#[test]
fn by_any_clock_the_scripts_say_what_the_algorithms_do() {
    let mut connection = connected();
    let mut random = fastrand::Rng::with_seed(18);
    let (mut keys, mut verdicts) = (keys(), [0, 0, 0]);
    for _ in 0..STEPS_BY_ANY_CLOCK / BATCH {
        let (mut pipe, mut all) = (redis::pipe(), Vec::new());
        for _ in 0..BATCH {
            let key = random.usize(..keys.len());
            let key = &mut keys[key];
            let before = key.state;
            let (rule, step, expected, has_expired) = key.next(&mut random);
            if has_expired {
                pipe.cmd("UNLINK").arg(&key.name).ignore();
            }
            pipe.add_command(at(key.now, &key.name, rule, step));
            pipe.cmd("PEXPIRETIME").arg(&key.name).cmd("GET").arg(&key.name);
            all.push((rule, step, expected, before, key.state));
        }
        let replies: Vec<Value> = pipe.query(&mut connection).unwrap();
        for ((rule, step, said, before, after), replies) in all.into_iter().zip(replies.chunks(3)) {
            let context = format!("{rule:?} {before:?} {step:?}");
            assert_eq!(super::said(rule, step, replies[0].clone()), said, "{context}");
            let expires: i64 = redis::from_redis_value(replies[1].clone()).unwrap();
            let bytes: Option<Vec<u8>> = redis::from_redis_value(replies[2].clone()).unwrap();
            match after {
                // Until nothing of it counts any more.
                Some(after) => {
                    assert_eq!(bytes, Some(written(after)), "{context}");
                    let over = rule.over_at(after).div_ceil(1000);
                    assert_eq!(expires.unsigned_abs(), over, "{context}");
                }
                None if step == Step::Reset => assert_eq!(bytes, None, "{context}"),
                // What is of no use any more may stand there until then, and says nothing.
                None => {
                    let stands = read(rule, &bytes.unwrap_or_default());
                    let (_, after) = expected(rule, stands, Step::Take(0), said.now);
                    assert_eq!(after.limited.reset_after, Duration::ZERO, "{context}");
                    assert_ne!(expires, -1, "{context}");
                }
            }
            verdicts[match said.limited.verdict {
                Verdict::Allowed => 0,
                Verdict::Denied { .. } => 1,
                Verdict::Never => 2,
            }] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > STEPS_BY_ANY_CLOCK / 40), "{verdicts:?}");
}

#[test]
fn greedy_callers_are_granted_what_the_limit_says() {
    const CALLERS: usize = 4;
    const LIMIT: u32 = 2_000;

    let per = SECOND / 4;
    for algorithm in ALGORITHMS {
        let key = format!("limit:greedy:{algorithm:?}");
        let rule = Rule::new(algorithm, LIMIT, Duration::from_micros(per), Some(100));
        let mut granted: Vec<u64> = thread::scope(|scope| {
            let call = || {
                let (mut connection, mut granted) = (connected(), Vec::new());
                let began = std::time::Instant::now();
                while began.elapsed() < Duration::from_millis(1_200) {
                    let mut pipe = redis::pipe();
                    for _ in 0..50 {
                        pipe.add_command(by_sha(&key, rule, Step::Take(1)));
                    }
                    let replies: Vec<Value> = pipe.query(&mut connection).unwrap();
                    let said = replies.into_iter().map(|reply| said(rule, Step::Take(1), reply));
                    let of_it = said.filter(|said| said.limited.verdict == Verdict::Allowed);
                    granted.extend(of_it.map(|said| said.now));
                }
                granted
            };
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        granted.sort_unstable();
        let most_of = |until: &dyn Fn(u64) -> u64| {
            let from = |(at, time): (usize, &u64)| {
                granted[at..].partition_point(|other| *other <= until(*time))
            };
            granted.iter().enumerate().map(from).max().unwrap()
        };
        let (limit, in_a_window) = (LIMIT as usize, most_of(&|time| time - time % per + per - 1));
        match algorithm {
            Algorithm::Gcra => assert!(most_of(&|time| time + per) <= limit + 100),
            Algorithm::FixedWindow => assert!(in_a_window <= limit),
            Algorithm::SlidingWindow => {
                assert!(in_a_window <= limit);
                assert!(most_of(&|time| time + per - 1) < 2 * limit);
            }
        }
        assert!(granted.len() > limit, "{}", granted.len());
    }
}
