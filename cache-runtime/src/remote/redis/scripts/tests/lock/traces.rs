//! Many steps of a few claims by a clock that goes on, jumps and is put back.

use super::{super::super::Command as _, *};

/// Later than any server of a test, so that nothing expires.
pub(super) const NOW: u64 = 2_600_000_000_000_000;

/// A step of a claim.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Acquire(u128, Asks, u64),
    Unlock(u128),
}

/// A connection to a server that knows the scripts by a clock of the test, and their names there.
pub(super) struct Connected {
    pub(super) connection: Connection,
    acquire: String,
    unlock: String,
}

pub(super) fn connected() -> Connected {
    let mut connection = SERVER.connect();
    let mut load = |script: &Script| {
        redis::cmd("SCRIPT").arg("LOAD").arg(timed(script)).query(&mut connection).unwrap()
    };
    let (acquire, unlock) = (load(&ACQUIRE), load(&UNLOCK));
    Connected { connection, acquire, unlock }
}

impl Connected {
    /// Adds a step at that microsecond, and a look at what it left.
    pub(super) fn add(&self, pipe: &mut Pipeline, key: &str, step: Step, now: u64) {
        let mut cmd = match step {
            Step::Acquire(token, ask, lease) => {
                let wish = match ask {
                    Asks::Now => Wish::Now,
                    Asks::Wait => Wish::Wait,
                    Asks::Renew => Wish::Renew,
                };
                let (token, lease) = (Token(token), Duration::from_millis(lease));
                Acquire { key, token, lease, not_after: None, wish }.cmd("EVALSHA", &self.acquire)
            }
            Step::Unlock(token) => {
                let (token, channel) = (Token(token), "of nobody");
                Unlock { key, token, channel, message: b"" }.cmd("EVALSHA", &self.unlock)
            }
        };
        cmd.arg(now / 1_000_000).arg(now % 1_000_000);
        pipe.add_command(cmd).cmd("GET").arg(key);
    }
}

/// That a script answered what it should have, and left what it should have.
#[track_caller]
pub(super) fn check(
    before: Option<&Standing>,
    step: Step,
    now: u64,
    replies: &[Value],
) -> (Option<Standing>, Option<Said>) {
    let standing = before.cloned().unwrap_or_default();
    let context = format!("{step:?} at {now} on {before:?}");
    let reply = replies[0].clone();
    let (said, left) = match step {
        Step::Acquire(token, ask, lease) => {
            let (said, left) = standing.acquire(token, lease, ask, now);
            let expected = match said {
                Said::Held(fence) => Acquired::Held(fence),
                Said::Busy(left, ahead) => {
                    Acquired::Busy { left: Duration::from_millis(left), ahead }
                }
                Said::Lost => Acquired::Lost,
            };
            let answer = Acquire::answer(reply).unwrap();
            assert_eq!((answer.now, answer.outcome), (now / 1000, expected), "{context}");
            (Some(said), left)
        }
        Step::Unlock(token) => {
            let (had, left, _) = standing.unlock(token, now);
            let answer = Unlock::answer(reply).unwrap();
            assert_eq!((answer.now, answer.outcome), (now / 1000, had), "{context}");
            (None, left)
        }
    };
    let after: Option<Vec<u8>> = redis::from_redis_value(replies[1].clone()).unwrap();
    if let Some(left) = &left {
        assert_eq!(after.as_deref(), Some(&*written(left)), "{context}");
    }
    (left, said)
}

#[test]
fn the_scripts_do_what_is_said_of_them() {
    const STEPS: usize = 100_000;
    const BATCH: usize = 1_000;

    let mut server = connected();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut standing, mut now, mut newest) = (None::<Standing>, NOW, 0);
    let (mut granted, mut queued, mut ended) = (0, 0, 0);
    redis::cmd("DEL").arg("lock:trace").exec(&mut server.connection).unwrap();
    for _ in 0..STEPS / BATCH {
        let mut pipe = redis::pipe();
        let mut steps = Vec::new();
        for _ in 0..BATCH {
            now = match random.u8(..40) {
                0 => now.saturating_sub(random.u64(..5_000_000)),
                1 => now + random.u64(..5_000_000),
                _ => now + random.u64(..100_000),
            };
            let token = random.u128(1..6);
            let step = match random.u8(..10) {
                0..5 => Step::Acquire(token, Asks::Wait, random.u64(1..1_000)),
                5 => Step::Acquire(token, Asks::Now, random.u64(1..1_000)),
                6 => Step::Acquire(token, Asks::Renew, random.u64(1..1_000)),
                _ => Step::Unlock(token),
            };
            server.add(&mut pipe, "lock:trace", step, now);
            steps.push((step, now));
        }
        let replies: Vec<Value> = pipe.query(&mut server.connection).unwrap();
        for ((step, now), replies) in steps.into_iter().zip(replies.chunks(2)) {
            let had = standing.as_ref().map_or(0, |standing| standing.at(now / 1000).holder);
            ended += u32::from(standing.as_ref().is_some_and(|lock| lock.holder != 0) && had == 0);
            let (left, said) = check(standing.as_ref(), step, now, replies);
            if let (Step::Acquire(token, ..), Some(Said::Held(fence))) = (step, said) {
                assert!(had == 0 || had == token, "two have it: {step:?} on {standing:?}");
                if had == 0 {
                    assert!(fence > newest, "{fence} after {newest}");
                    newest = fence;
                    granted += 1;
                } else {
                    assert_eq!(fence, newest);
                }
            }
            queued += u32::from(matches!(said, Some(Said::Busy(_, Some(1..)))));
            standing = left.or(standing);
        }
    }
    assert!(granted > 5_000 && queued > 5_000 && ended > 1_000, "{granted} {queued} {ended}");
}
