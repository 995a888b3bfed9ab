//! The tier of the tests decides as the one in Redis does.

mod common;

use std::{sync::Arc, time::Duration};

use common::{At, KEPT, Process, Server, State, Verb, found, node::LEASE, stale};
use larder::{
    __private::{Ask, Fill, Found, Got, Lease, Leased, ReadOf, Reason, Remote, Seen, Tags, Token},
    Codec, Error,
};
use tokio::time::sleep;

const KEY: &str = "test:job:1";
const KEYS: [&str; 3] = ["test:job:1", "test:job:2", "test:job:3"];
const MINE: Token = Token(1);
const OTHER: Token = Token(2);
const LEASED: Leased = Leased::Granted { is_refresh: false };
const REFRESHED: Leased = Leased::Granted { is_refresh: true };
const SECOND: Duration = Duration::from_secs(1);
const AMPLE: Duration = Duration::from_secs(3600);
/// Of the values that are stored here.
const LIFE: Duration = Duration::from_secs(60);

/// A server and two processes.
fn pair() -> (Arc<Server>, Arc<Process>, Arc<Process>) {
    let server = Server::new();
    let (a, b) = (server.connect("a"), server.connect("b"));
    (server, a, b)
}

fn lease(key: &str, token: Token) -> Lease {
    Lease { key: key.to_owned(), token }
}

fn leases() -> Vec<Lease> {
    KEYS.iter().zip(10..).map(|(key, token)| lease(key, Token(token))).collect()
}

fn asks(leases: Vec<Lease>, seen: &Seen) -> Vec<Ask> {
    let ask = |lease| Ask { lease, seen: seen.clone(), tags: Tags::NONE };
    leases.into_iter().map(ask).collect()
}

fn value(stale: Duration, stale_if_error: Duration) -> Fill {
    Fill {
        payload: b"1".to_vec(),
        codec: Codec::Json,
        negative: false,
        fingerprint: 7,
        age: SECOND,
        life: LIFE,
        stale,
        stale_if_error,
        cost: 2 * SECOND,
    }
}

async fn get(process: &Process) -> Got {
    process.get(KEY, &Tags::NONE, AMPLE).await.unwrap().0
}

async fn ask(process: &Process, token: Token, seen: Seen) -> Leased {
    process.lease(asks(vec![lease(KEY, token)], &seen), AMPLE).await.remove(0).unwrap().0
}

async fn fill(process: &Process, token: Token, value: Fill) -> bool {
    process.fill(vec![(lease(KEY, token), value)], AMPLE).await.remove(0).unwrap()
}

async fn release(process: &Process, token: Token, pause: Duration) -> bool {
    process.release(vec![lease(KEY, token)], pause).await.remove(0).unwrap()
}

fn found_of(got: Got) -> Found {
    match got {
        Got::Found(found) => found,
        got => panic!("{got:?}"),
    }
}

#[track_caller]
fn assert_stale(leased: Leased, pause: Duration, is_refreshed: bool) {
    match leased {
        Leased::Stale { pause: left, is_refreshed: is, .. } => {
            assert_eq!((left, is), (pause, is_refreshed));
        }
        leased => panic!("{leased:?}"),
    }
}

/// A value past its life.
fn past(overdue: Duration, left: Duration) -> State {
    State::Value(stale(found("1", 7), overdue, left), None)
}

#[tokio::test(start_paused = true)]
async fn a_value_ages_until_nobody_is_served_it() {
    let (_server, a, b) = pair();
    assert_eq!(ask(&a, MINE, Seen::Nothing).await, LEASED);
    assert!(fill(&a, MINE, value(5 * SECOND, 20 * SECOND)).await);
    let found = found_of(get(&b).await);
    assert_eq!((found.age, found.life, found.overdue), (SECOND, LIFE, Duration::ZERO));
    assert_eq!((found.stale, found.cost), (LIFE + 5 * SECOND, 2 * SECOND));
    sleep(LIFE + 2 * SECOND).await;
    let found = found_of(get(&b).await);
    assert_eq!((found.age, found.life), (LIFE + 3 * SECOND, Duration::ZERO));
    assert_eq!((found.overdue, found.stale), (2 * SECOND, 3 * SECOND));
    sleep(10 * SECOND).await;
    let found = found_of(get(&b).await);
    assert_eq!((found.overdue, found.stale), (12 * SECOND, Duration::ZERO));
    sleep(8 * SECOND).await;
    assert_eq!(get(&b).await, Got::Nothing);
}

#[tokio::test(start_paused = true)]
async fn of_a_stale_value_one_caller_refreshes_for_the_length_of_a_lease() {
    let (server, a, b) = pair();
    server.set(KEY, past(SECOND, 120 * SECOND));
    assert_eq!(ask(&a, MINE, Seen::Nothing).await, REFRESHED);
    sleep(LEASE / 4).await;
    assert_stale(ask(&b, OTHER, Seen::Nothing).await, LEASE * 3 / 4, true);
    assert!(matches!(get(&b).await, Got::Found(_)));
    assert!(a.renew(KEY, MINE).await.unwrap());
    assert_stale(ask(&b, OTHER, Seen::Early).await, LEASE, true);
    sleep(LEASE).await;
    assert_eq!(ask(&b, OTHER, Seen::Nothing).await, REFRESHED);
    assert!(!fill(&a, MINE, value(SECOND, SECOND)).await);
    assert!(fill(&b, OTHER, value(SECOND, SECOND)).await);
    assert!(matches!(ask(&a, MINE, Seen::Nothing).await, Leased::Found(_)));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_value_is_refreshed_early_by_one_caller() {
    let (server, a, b) = pair();
    server.set(KEY, State::Value(found("1", 7), None));
    // Not in the first half of its life.
    assert!(matches!(ask(&a, MINE, Seen::Early).await, Leased::Found(_)));
    sleep(30 * SECOND).await;
    assert_eq!(ask(&a, MINE, Seen::Early).await, REFRESHED);
    assert_stale(ask(&b, OTHER, Seen::Early).await, LEASE, true);
    assert!(matches!(ask(&b, OTHER, Seen::Nothing).await, Leased::Found(_)));
    assert_eq!(ask(&b, OTHER, Seen::Refresh).await, REFRESHED);
    assert!(!release(&a, MINE, SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_value_for_errors_is_awaited_while_it_is_refreshed() {
    let (server, a, b) = pair();
    server.set(KEY, past(SECOND, Duration::ZERO));
    assert_eq!(ask(&a, MINE, Seen::Nothing).await, REFRESHED);
    assert_eq!(ask(&b, OTHER, Seen::Nothing).await, Leased::Busy);
    assert!(release(&a, MINE, 3 * SECOND).await);
    assert_eq!(b.changed(KEY).await.unwrap(), Reason::Woken);
    assert_stale(ask(&b, OTHER, Seen::Nothing).await, 3 * SECOND, false);
    assert!(!release(&a, MINE, Duration::ZERO).await, "who has no token ends no pause");
    sleep(3 * SECOND).await;
    assert_eq!(ask(&b, OTHER, Seen::Nothing).await, REFRESHED);
    assert!(release(&b, OTHER, Duration::ZERO).await);
    server.pause(KEY, SECOND);
    assert_stale(ask(&b, OTHER, Seen::Nothing).await, SECOND, false);
    sleep(KEPT).await;
    assert_eq!(get(&b).await, Got::Nothing);
    assert_eq!(ask(&b, OTHER, Seen::Nothing).await, LEASED);
}

// Trace 17.
#[tokio::test(start_paused = true)]
async fn a_refresh_at_the_end_of_a_value_counts_as_a_lease_and_is_stored() {
    let (server, a, b) = pair();
    server.set(KEY, past(SECOND, SECOND));
    assert_eq!(ask(&a, MINE, Seen::Nothing).await, REFRESHED);
    sleep(2 * SECOND).await;
    assert_eq!(get(&b).await, Got::Nothing);
    assert_eq!(server.state(KEY), State::Lease(MINE));
    assert_eq!(ask(&b, OTHER, Seen::Nothing).await, Leased::Busy);
    assert!(fill(&a, MINE, value(SECOND, SECOND)).await);
    server.set(KEY, past(SECOND, SECOND));
    assert_eq!(ask(&a, MINE, Seen::Nothing).await, REFRESHED);
    sleep(2 * SECOND).await;
    assert!(release(&a, MINE, SECOND).await);
    assert_eq!(server.state(KEY), State::Absent);
    // Nor does one last that is not renewed.
    server.set(KEY, past(SECOND, SECOND));
    assert_eq!(ask(&a, MINE, Seen::Nothing).await, REFRESHED);
    sleep(LEASE).await;
    assert!(!fill(&a, MINE, value(SECOND, SECOND)).await);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_ends_a_refresh_and_a_pause() {
    let (server, a, b) = pair();
    for is_over in [false, true] {
        server.set(KEY, past(SECOND, LIFE));
        assert_eq!(ask(&a, MINE, Seen::Nothing).await, REFRESHED);
        if is_over {
            assert!(release(&a, MINE, SECOND).await);
        }
        b.invalidate(&[KEY.to_owned()]).await.remove(0).unwrap();
        assert!(!release(&a, MINE, SECOND).await);
        assert_eq!(ask(&b, OTHER, Seen::Nothing).await, LEASED);
        assert!(release(&b, OTHER, SECOND).await);
        assert_eq!(server.state(KEY), State::Absent);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_replaced_if_it_still_stands() {
    let (server, a, b) = pair();
    let old = found("old", 7);
    server.set(KEY, State::Value(old.clone(), Some(OTHER)));
    let Got::Found(seen) = get(&a).await else { panic!("it stands there") };
    let seen = Seen::Rejected(larder::__private::Rejected(seen.payload.to_vec()));
    assert_eq!(ask(&a, MINE, seen.clone()).await, LEASED);
    assert!(!fill(&b, OTHER, value(SECOND, SECOND)).await);
    assert!(fill(&a, MINE, value(SECOND, SECOND)).await);
    assert!(matches!(ask(&b, OTHER, seen).await, Leased::Found(_)));
}

fn reads() -> Vec<ReadOf> {
    KEYS.iter().map(|key| ReadOf { key: (*key).to_owned(), tags: Tags::NONE }).collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_logged_by_its_keys_and_a_read_of_one_as_one() {
    let (server, a, _) = pair();
    let got = a.get_all(reads(), AMPLE).await;
    assert!(got.iter().all(|got| matches!(got, Ok((Got::Nothing, None)))));
    let leased = a.lease(asks(leases(), &Seen::Nothing), AMPLE).await;
    assert!(leased.iter().all(|leased| matches!(leased, Ok((LEASED, None)))));
    let fills = leases().into_iter().take(2).map(|lease| (lease, value(SECOND, SECOND)));
    let filled = a.fill(fills.collect(), AMPLE).await;
    assert!(matches!(filled[..], [Ok(true), Ok(true)]));
    let released = a.release(leases(), SECOND).await;
    assert!(matches!(released[..], [Ok(false), Ok(false), Ok(true)]));
    let lists = [["a MGET"].as_slice(), &["a LEASE"; 3], &["a FILL"; 2], &["a RELEASE"; 3]];
    assert_eq!(server.log(), lists.concat());
    assert_eq!(server.log_of(KEYS[2]), ["a MGET", "a LEASE", "a RELEASE"]);
    assert_eq!(server.keys_of("a MGET"), [KEYS]);
    assert_eq!(server.keys_of("a FILL").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_waits_once_and_fails_as_a_whole_but_for_a_key_that_is_refused() {
    let (server, a, _) = pair();
    let gate = a.hold(Verb::Lease, At::Sent);
    let waiting = tokio::spawn({
        let a = Arc::clone(&a);
        async move { a.lease(asks(leases(), &Seen::Nothing), AMPLE).await }
    });
    sleep(SECOND).await;
    assert!(!waiting.is_finished());
    gate.let_one_go();
    assert!(waiting.await.unwrap().iter().all(Result::is_ok));
    a.answer(Verb::Lease);
    a.refuse(KEYS[1]);
    let released = a.release(leases(), SECOND).await;
    assert!(matches!(released[..], [Ok(true), Err(Error::Refused), Ok(true)]), "{released:?}");
    a.refuse_nothing();
    // What nobody learns of is given back, and what is of others is not.
    server.set(KEYS[1], State::Lease(OTHER));
    a.lose_answer(Verb::Lease);
    let leased = a.lease(asks(leases(), &Seen::Nothing), AMPLE).await;
    assert!(leased.len() == 3 && leased.iter().all(Result::is_err));
    let states = KEYS.map(|key| server.state(key));
    assert_eq!(states, [State::Absent, State::Lease(OTHER), State::Absent]);
    a.fail(Verb::Get);
    assert_eq!(a.get_all(reads(), AMPLE).await.iter().filter(|got| got.is_err()).count(), 3);
    a.answer(Verb::Get);
    a.hang(Verb::Get);
    let late = a.get_all(reads(), SECOND).await;
    assert!(late.iter().all(|got| matches!(got, Err(Error::Timeout { .. }))));
}
