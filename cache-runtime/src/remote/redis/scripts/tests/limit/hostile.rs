//! Whatever another program has put at the key of a limit.

use super::*;

const INPUTS: usize = 10_000;
const BATCH: usize = 500;

/// Later than any server of a test, so that nothing expires.
const NOW: u64 = 2_600_000_000 * SECOND + 123_456;

fn inputs(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let at = |random: &mut fastrand::Rng| match random.u8(..12) {
        0 => random.u64(..),
        1 => random.u64((1 << 53) - 3..(1 << 53) + 3),
        2 => [0, 1, u64::MAX, 1 << 63, NOW][random.usize(..5)],
        3 => NOW.saturating_add_signed(random.i64(-1..=1) << random.u8(..53)),
        4..6 => random.u64(NOW - HOUR..NOW + HOUR),
        _ => random.u64(NOW - 10..NOW + 20 * SECOND),
    };
    let small = |random: &mut fastrand::Rng| match random.u8(..4) {
        0 => random.u32(..),
        1 => [0, u32::MAX, 1, 1 << 31][random.usize(..4)],
        _ => random.u32(..20),
    };
    let mut inputs = Vec::new();
    while inputs.len() < INPUTS {
        let bytes = match random.u8(..9) {
            0 => (0..random.usize(..40)).map(|_| random.u8(..)).collect(),
            1 => [&b"gw"[..], b"g", b"w", b"", b"17", b"\0\0"][random.usize(..6)].to_vec(),
            2..6 => {
                let (micros, parts) = (at(random), small(random));
                let written = match random.u8(..3) {
                    0 => at(random),
                    _ => micros.saturating_sub(random.u64(..30 * SECOND)),
                };
                let part = if random.bool() { small(random) } else { random.u32(..parts.max(1)) };
                let at = Span { micros, part };
                self::written(State(Kept::Gcra(Arrival { at, parts, written })))
            }
            _ => {
                let (ends, previous, current) = (at(random), small(random), small(random));
                self::written(State(Kept::Window(Counts { ends, previous, current })))
            }
        };
        inputs.push(mangled(bytes, random));
    }
    inputs
}

#[test]
fn hostile_bytes_are_nothing_or_what_they_say_and_are_replaced() {
    let mut connection = connected();
    let mut random = fastrand::Rng::with_seed(19);
    let rates = [(10, 10 * SECOND), (7, SECOND), (u32::MAX, LONGEST), (1, 1)];
    let mut is_something = [0, 0];
    for (batch, inputs) in inputs(&mut random).chunks(BATCH).enumerate() {
        let (limit, per) = rates[batch % rates.len()];
        let rules = ALGORITHMS.map(|algorithm| rule(algorithm, limit, per));
        let key = "limit:hostile";
        let mut pipe = redis::pipe();
        let steps = [Step::Take(0), Step::Take(1), Step::Take(limit), Step::Refund(2), Step::Reset];
        let all: Vec<_> = inputs
            .iter()
            .map(|bytes| (bytes, rules[random.usize(..3)], steps[random.usize(..steps.len())]))
            .collect();
        for (bytes, rule, step) in &all {
            pipe.cmd("SET").arg(key).arg(*bytes).ignore();
            pipe.add_command(at(NOW, key, *rule, *step)).cmd("GET").arg(key);
        }
        let replies: Vec<Value> = pipe.query(&mut connection).unwrap();
        for ((bytes, rule, step), replies) in all.into_iter().zip(replies.chunks(2)) {
            let context = format!("{bytes:?} {rule:?} {step:?}");
            let before = read(rule, bytes);
            is_something[usize::from(before.is_some())] += 1;
            let (state, expected) = expected(rule, before, step, NOW);
            assert_eq!(said(rule, step, replies[0].clone()), expected, "{context}");
            let after: Option<Vec<u8>> = redis::from_redis_value(replies[1].clone()).unwrap();
            match state {
                Some(state) => assert_eq!(after, Some(written(state)), "{context}"),
                None if step == Step::Reset => assert_eq!(after, None, "{context}"),
                // Who takes nothing leaves what is foreign alone.
                None if before.is_none() => assert_eq!(after.as_ref(), Some(bytes), "{context}"),
                None => {
                    let stands = read(rule, &after.unwrap_or_default());
                    let (_, after) = super::expected(rule, stands, Step::Take(0), NOW);
                    assert_eq!(after.limited.reset_after, Duration::ZERO, "{context}");
                }
            }
        }
    }
    assert!(is_something.iter().all(|count| *count > INPUTS / 5), "{is_something:?}");
}

#[test]
fn what_is_of_another_type_is_replaced_when_something_is_taken() {
    for args in other_types() {
        for algorithm in ALGORITHMS {
            let mut entry = Entry::with_type(args);
            let kind = entry.type_of();
            let rule = rule(algorithm, 10, HOUR);
            for step in [Step::Take(0), Step::Take(11), Step::Refund(3)] {
                assert_eq!(entry.step(rule, step).remaining, 10);
                assert_eq!(entry.type_of(), kind);
            }
            assert_eq!(entry.step(rule, Step::Take(3)).remaining, 7);
            assert_eq!(entry.type_of(), "string");
            let mut entry = Entry::with_type(args);
            assert_eq!(entry.step(rule, Step::Reset).remaining, 10);
            assert_eq!(entry.type_of(), "none");
        }
    }
}

#[test]
fn a_long_string_is_not_read() {
    let mut entry = Entry::with(&vec![b'g'; 1 << 20]);
    let rule = rule(Algorithm::Gcra, 10, HOUR);
    assert_eq!(entry.step(rule, Step::Take(1)).remaining, 9);
    assert_eq!(entry.get().unwrap().len(), 25);
}

#[test]
fn what_another_algorithm_has_left_is_nothing() {
    for (one, other) in [
        (Algorithm::Gcra, Algorithm::FixedWindow),
        (Algorithm::FixedWindow, Algorithm::Gcra),
        (Algorithm::SlidingWindow, Algorithm::Gcra),
    ] {
        let mut entry = Entry::new();
        entry.step(rule(one, 10, HOUR), Step::Take(10));
        assert_eq!(entry.step(rule(other, 10, HOUR), Step::Take(1)).remaining, 9);
    }
}
