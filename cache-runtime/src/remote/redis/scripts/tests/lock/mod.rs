//! Locks: the scripts beside what they are to do, step by step.

mod hostile;
#[path = "../../../../../../../tests/common/lock.rs"]
mod reference;
mod traces;

use redis::Pipeline;

use self::reference::{Answer as Said, Ask as Asks, COUNTS, PLACES, Standing};
use super::{limit::timed, *};
use crate::remote::Wish;

const KEPT: u64 = 600_000;

impl Entry {
    fn claim(&mut self, token: Token, wish: Wish) -> Acquired {
        self.claim_by(token, wish, None)
    }

    fn claim_by(&mut self, token: Token, wish: Wish, not_after: Option<u64>) -> Acquired {
        let key = self.key.clone();
        self.run(&Acquire { key: &key, token, lease: TERM, not_after, wish }).outcome
    }

    fn unlock(&mut self, token: Token) -> bool {
        let (key, channel) = (self.key.clone(), self.channel.clone());
        self.run(&Unlock { key: &key, token, channel: &channel, message: b"turn " }).outcome
    }

    fn fence(&mut self, token: Token, wish: Wish) -> u64 {
        match self.claim(token, wish) {
            Acquired::Held(fence) => fence,
            other => panic!("{other:?}"),
        }
    }

    fn ahead(&mut self, token: Token) -> Option<u64> {
        match self.claim(token, Wish::Wait) {
            Acquired::Busy { ahead, .. } => ahead,
            other => panic!("{other:?}"),
        }
    }

    fn standing(&mut self) -> Standing {
        read(&self.get().unwrap()).unwrap()
    }

    /// What is heard by those whose turn it is.
    fn turn_of(&self, token: Token) -> String {
        format!("turn {}", name_of(&self.key, token))
    }
}

/// What bytes are to a script.
fn read(bytes: &[u8]) -> Option<Standing> {
    const MOST: u64 = (1 << 53) - 1;

    let (head, places) = bytes.split_at_checked(41)?;
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    let token = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().unwrap());
    let standing = Standing {
        holder: token(&head[1..17]),
        fence: number(&head[17..25]),
        ends: number(&head[25..33]),
        written: number(&head[33..41]),
        places: places
            .chunks(24)
            .filter(|place| place.len() == 24)
            .map(|place| (token(&place[..16]), number(&place[16..])))
            .collect(),
    };
    let is_one = head[0] == 3
        && places.len() % 24 == 0
        && places.len() / 24 <= PLACES
        && standing.fence < MOST
        && standing.written < MOST
        && standing.ends <= standing.written + CENTURY;
    is_one.then_some(standing)
}

/// As the scripts keep it.
fn written(standing: &Standing) -> Vec<u8> {
    let Standing { holder, fence, ends, written, places } = standing;
    let place =
        |(token, ends): &(u128, u64)| [&token.to_be_bytes()[..], &ends.to_be_bytes()].concat();
    let places = places.iter().flat_map(place);
    [&[3][..], &holder.to_be_bytes(), &fence.to_be_bytes(), &ends.to_be_bytes()]
        .concat()
        .into_iter()
        .chain(written.to_be_bytes())
        .chain(places)
        .collect()
}

#[test]
fn a_lock_has_one_holder_and_fences_rise() {
    let mut entry = Entry::new();
    let first = entry.fence(MINE, Wish::Now);
    assert_eq!(first / 1000, entry.answered, "the first is the server's time");
    let Acquired::Busy { left, ahead: None } = entry.claim(OTHER, Wish::Now) else {
        panic!("two have it");
    };
    assert!(is_about(left.as_millis() as i64, TERM_MS));
    assert!(!entry.unlock(OTHER) && entry.unlock(MINE) && !entry.unlock(MINE));
    let second = entry.fence(OTHER, Wish::Wait);
    assert!(second > first);
    let standing = entry.standing();
    assert_eq!((standing.holder, standing.fence), (OTHER.0, second));
    assert_eq!(standing.ends, entry.answered + TERM_MS);
    assert_eq!(entry.heard(), [""; 0], "nobody waited");
}

#[test]
fn who_comes_first_gets_it_first_and_is_told() {
    let mut entry = Entry::new();
    entry.fence(MINE, Wish::Now);
    assert_eq!((entry.ahead(OTHER), entry.ahead(THIRD)), (Some(0), Some(1)));
    assert_eq!(
        (entry.ahead(THIRD), entry.ahead(OTHER)),
        (Some(1), Some(0)),
        "they keep their places"
    );
    assert!(entry.unlock(MINE));
    assert_eq!(entry.heard(), [entry.turn_of(OTHER)]);
    // Not to one that comes later, nor to the one that had it, however often he asks.
    assert!(matches!(entry.claim(MINE, Wish::Now), Acquired::Busy { .. }));
    assert_eq!((entry.ahead(THIRD), entry.ahead(MINE)), (Some(1), Some(2)));
    entry.fence(OTHER, Wish::Wait);
    assert_eq!((entry.ahead(THIRD), entry.ahead(MINE)), (Some(0), Some(1)));
    assert_eq!(entry.heard(), [""; 0]);
}

#[test]
fn who_leaves_makes_way() {
    let mut entry = Entry::new();
    entry.fence(MINE, Wish::Now);
    for token in [OTHER, THIRD, Token(0x44)] {
        entry.ahead(token);
    }
    // By a last look.
    assert!(matches!(entry.claim(OTHER, Wish::Now), Acquired::Busy { ahead: None, .. }));
    assert_eq!(entry.ahead(THIRD), Some(0));
    assert!(!entry.unlock(Token(0x44)), "it had a place and not the lock");
    assert_eq!(entry.heard(), [""; 0], "the lock is not free");
    entry.ahead(OTHER);
    entry.unlock(MINE);
    assert_eq!(entry.heard(), [entry.turn_of(THIRD)]);
    assert!(!entry.unlock(THIRD));
    assert_eq!(entry.heard(), [entry.turn_of(OTHER)]);
    assert!(!entry.unlock(OTHER));
    entry.fence(MINE, Wish::Now);
}

#[test]
fn a_renewal_makes_it_last_and_takes_nothing() {
    let mut entry = Entry::new();
    assert_eq!(entry.claim(MINE, Wish::Renew), Acquired::Lost);
    assert_eq!(entry.get(), None);
    let fence = entry.fence(MINE, Wish::Now);
    entry.ahead(OTHER);
    assert_eq!(entry.fence(MINE, Wish::Renew), fence);
    let standing = entry.standing();
    assert_eq!(standing.ends, entry.answered + TERM_MS);
    assert_eq!(standing.places.len(), 1);
    assert_eq!(entry.claim(OTHER, Wish::Renew), Acquired::Lost);
    entry.unlock(MINE);
    assert_eq!(entry.claim(MINE, Wish::Renew), Acquired::Lost);
    assert_eq!(entry.claim(OTHER, Wish::Renew), Acquired::Lost);
}

#[test]
fn a_command_that_comes_too_late_does_nothing() {
    let mut entry = Entry::new();
    for wish in [Wish::Now, Wish::Wait, Wish::Renew] {
        assert_eq!(entry.claim_by(MINE, wish, Some(now() - 1)), Acquired::Late);
        assert_eq!(entry.claim_by(MINE, wish, Some(0)), Acquired::Late);
    }
    assert_eq!(entry.get(), None);
    assert!(matches!(entry.claim_by(MINE, Wish::Now, Some(now() + LONG)), Acquired::Held(_)));
}

#[test]
fn a_queue_that_is_full_has_no_place() {
    let mut entry = Entry::new();
    entry.fence(MINE, Wish::Now);
    let ends = now() + COUNTS;
    let standing = entry.standing();
    let places = (0..PLACES as u128).map(|number| (100 + number, ends)).collect();
    entry.set(&written(&Standing { places, ..standing }), LONG);
    assert_eq!(entry.ahead(OTHER), None);
    assert_eq!(entry.ahead(Token(100)), Some(0));
    entry.unlock(Token(100));
    assert_eq!(entry.ahead(OTHER), Some(PLACES as u64 - 1));
}

#[test]
fn it_is_kept_for_ten_minutes_after_its_last_use() {
    let mut entry = Entry::new();
    entry.fence(MINE, Wish::Now);
    assert!(is_about(entry.left(), TERM_MS + KEPT));
    entry.unlock(MINE);
    assert!(is_about(entry.left(), KEPT));
    assert_eq!((entry.standing().holder, entry.standing().ends), (0, 0));
}

#[test]
fn a_full_server_gives_no_lock_and_takes_one_back() {
    let server = RedisServer::start_on_socket();
    let mut connection = server.connect();
    let key = "lock";
    let mut run = |cmd: Cmd| cmd.query::<Value>(&mut connection);
    let acquire =
        |token, wish| by_body(&Acquire { key, token, lease: TERM, not_after: None, wish });
    let unlock = |token| by_body(&Unlock { key, token, channel: "channel", message: b"" });
    let bound = |run: &mut dyn FnMut(Cmd) -> Result<Value, RedisError>, bytes: &str| {
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("SET").arg("maxmemory").arg(bytes);
        run(cmd).unwrap();
    };
    run(acquire(MINE, Wish::Now)).unwrap();
    run(acquire(OTHER, Wish::Wait)).unwrap();
    bound(&mut run, "1");
    let refused = |answer: Result<Value, RedisError>| {
        assert_eq!(answer.unwrap_err().code(), Some("OOM"));
    };
    refused(run(acquire(MINE, Wish::Renew)));
    refused(run(acquire(THIRD, Wish::Wait)));
    let code = |answer: Result<Value, RedisError>| match answer.unwrap() {
        Value::Array(values) => values[0].clone(),
        other => panic!("{other:?}"),
    };
    // The place goes when its time is over; the lock of another stays.
    assert_eq!(code(run(unlock(OTHER))), Value::Int(0));
    assert_eq!(code(run(acquire(THIRD, Wish::Now))), Value::Int(2));
    assert_eq!(code(run(unlock(MINE))), Value::Int(1));
    refused(run(acquire(OTHER, Wish::Now)));
    bound(&mut run, "0");
    assert_eq!(code(run(acquire(THIRD, Wish::Now))), Value::Int(1));
}
