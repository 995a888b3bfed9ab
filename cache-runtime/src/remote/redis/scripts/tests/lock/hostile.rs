//! Whatever another program has put at the key of a lock.

use super::{
    traces::{NOW, Step, check, connected},
    *,
};

const INPUTS: usize = 10_000;
const BATCH: usize = 500;

fn inputs(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let millis = NOW / 1000;
    let time = |random: &mut fastrand::Rng| match random.u8(..12) {
        0 => random.u64(..),
        1 => random.u64((1 << 53) - 3..(1 << 53) + 3),
        2 => [0, 1, u64::MAX, 1 << 63, NOW, millis][random.usize(..6)],
        3 => millis.saturating_add_signed(random.i64(-1..=1) << random.u8(..53)),
        4 => random.u64(millis - 3..millis + 3),
        5 => millis + COUNTS - 2 + random.u64(..4),
        6 => millis + CENTURY - 2 + random.u64(..4),
        _ => random.u64(millis - 2_000..millis + 2_000),
    };
    let token = |random: &mut fastrand::Rng| match random.u8(..8) {
        0 => random.u128(..),
        _ => random.u128(..5),
    };
    let mut inputs = Vec::new();
    while inputs.len() < INPUTS {
        let bytes = match random.u8(..12) {
            0 => (0..random.usize(..90)).map(|_| random.u8(..)).collect(),
            1 => [&b"\x03"[..], b"", b"17", b"\0\0", b"lock"][random.usize(..5)].to_vec(),
            kind => {
                let count = match kind {
                    2 => random.usize(PLACES - 1..PLACES + 2),
                    _ => random.usize(..4),
                };
                let written = match random.u8(..3) {
                    0 => time(random),
                    _ => millis - random.u64(..50),
                };
                self::written(&Standing {
                    holder: token(random),
                    fence: time(random).saturating_mul([1, 1000][random.usize(..2)]),
                    ends: time(random),
                    written,
                    places: (0..count).map(|_| (token(random), time(random))).collect(),
                })
            }
        };
        inputs.push(mangled(bytes, random));
    }
    inputs
}

#[test]
fn hostile_bytes_are_nothing_or_what_they_say_and_are_replaced() {
    let mut server = connected();
    let mut random = fastrand::Rng::with_seed(19);
    let mut is_something = [0, 0];
    for inputs in inputs(&mut random).chunks(BATCH) {
        let mut pipe = redis::pipe();
        let mut steps = Vec::new();
        for bytes in inputs {
            let token = random.u128(1..5);
            let step = match random.u8(..4) {
                0 => Step::Unlock(token),
                ask => {
                    let ask = [Asks::Now, Asks::Wait, Asks::Renew][usize::from(ask) - 1];
                    Step::Acquire(token, ask, random.u64(1..CENTURY))
                }
            };
            pipe.cmd("SET").arg("lock:hostile").arg(bytes.as_slice()).ignore();
            server.add(&mut pipe, "lock:hostile", step, NOW);
            steps.push(step);
        }
        let replies: Vec<Value> = pipe.query(&mut server.connection).unwrap();
        for ((bytes, step), replies) in inputs.iter().zip(steps).zip(replies.chunks(2)) {
            let before = read(bytes);
            is_something[usize::from(before.is_some())] += 1;
            let (left, _) = check(before.as_ref(), step, NOW, replies);
            if left.is_none() {
                let after: Vec<u8> = redis::from_redis_value(replies[1].clone()).unwrap();
                assert_eq!(&after, bytes, "who takes nothing leaves it alone");
            }
        }
    }
    assert!(is_something.iter().all(|count| *count > INPUTS / 5), "{is_something:?}");
}

#[test]
fn what_is_of_another_type_is_replaced_when_the_lock_is_taken() {
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        let kind = entry.type_of();
        assert_eq!(entry.claim(MINE, Wish::Renew), Acquired::Lost);
        assert!(!entry.unlock(MINE));
        assert_eq!(entry.type_of(), kind);
        entry.fence(MINE, Wish::Now);
        assert_eq!(entry.type_of(), "string");
        assert!(entry.unlock(MINE));
    }
}

#[test]
fn what_is_of_an_entry_or_a_limit_is_nothing() {
    for bytes in no_holds().into_iter().chain([hold(&[MINE]), vec![b'g'; 25], vec![b'w'; 17]]) {
        let mut entry = Entry::with(&bytes);
        assert!(!entry.unlock(MINE));
        entry.fence(OTHER, Wish::Now);
        assert_eq!(entry.standing().places, []);
    }
}

#[test]
fn a_long_string_is_not_read() {
    let mut entry = Entry::with(&vec![3; 1 << 20]);
    entry.fence(MINE, Wish::Wait);
    assert_eq!(entry.get().unwrap().len(), 41);
}
