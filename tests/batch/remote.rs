//! What a batch asks of the tier that a fleet shares, in which order, and what it makes of the answers. Each
//! cache is a process of the fleet.

use std::{
    sync::Arc,
    time::{Duration, Instant as RealInstant},
};

use larder::{__private::Token, Source, cached};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    common::{
        At, Gate, Server, State, Verb, found,
        node::{self, LEASE, Node},
    },
    db::{
        Act::{Fail, Slow},
        Db, MOMENT, RUN, Rows, SECOND, get_row, load_rows, row, rows, rows_of, timed,
    },
};

fn key(id: u64) -> String {
    format!("test:row:{id}")
}

fn keys(ids: &[u64]) -> Vec<String> {
    ids.iter().map(|id| key(*id)).collect()
}

/// Somebody else's.
fn lease() -> State {
    State::Lease(Token(7))
}

/// In a process.
async fn load(node: &Node, db: &Db, ids: &[u64]) -> Result<Rows, String> {
    node.cache.scope(async { load_rows(db, ids).await }).await
}

async fn get(node: &Node, db: &Db, id: u64) -> Result<String, String> {
    node.cache.scope(async { get_row(db, id).await }).await
}

/// On a task of its own, which has got to where it waits.
async fn loading(node: &Node, db: &Db, ids: &[u64]) -> JoinHandle<Result<Rows, String>> {
    let (db, ids) = (db.clone(), ids.to_vec());
    let call = node.spawn(async move { load_rows(&db, &ids).await });
    sleep(MOMENT).await;
    call
}

async fn getting(node: &Node, db: &Db, id: u64) -> JoinHandle<Result<String, String>> {
    let db = db.clone();
    let call = node.spawn(async move { get_row(&db, id).await });
    sleep(MOMENT).await;
    call
}

/// A command for each of these.
fn each(command: &str, count: usize) -> Vec<String> {
    vec![command.to_owned(); count]
}

mod lists {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_with_thirty_missing_are_one_read_and_one_run_of_thirty() {
        let (server, a, b) = node::pair();
        let (seventy, hundred): (Vec<u64>, Vec<u64>) = ((0..70).collect(), (0..100).collect());
        let thirty: Vec<u64> = (70..100).collect();
        let (of_a, of_b) = (Db::default(), Db::default());
        load(&a, &of_a, &seventy).await.unwrap();
        server.forget();
        let read = load(&b, &of_b, &hundred).await;
        assert_eq!(read, Ok(rows(1, &hundred)));
        assert_eq!(of_b.runs(), std::slice::from_ref(&thirty));
        let expected = [each("b MGET", 1), each("b LEASE", 30), each("b FILL", 30)].concat();
        assert_eq!(server.log(), expected);
        assert_eq!(server.keys_of("b MGET"), [keys(&hundred)]);
        server.forget();
        // All in memory by now.
        assert_eq!(load(&b, &of_b, &hundred).await, read);
        assert_eq!(server.log(), [""; 0]);
        assert_eq!(load(&a, &of_a, &hundred).await, read);
        assert_eq!(server.keys_of("a MGET"), [keys(&thirty)]);
        assert_eq!(server.log(), ["a MGET"]);
    }

    /// Lets one list of commands through, and those of another kind.
    async fn let_one_go(gate: &Gate) {
        gate.let_one_go();
        sleep(MOMENT).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_their_number_leases_and_fills_are_one_list_each() {
        let (server, a) = node::alone();
        let db = Db::default();
        let ids: Vec<u64> = (0..999).collect();
        let [reads, leases, fills] =
            [Verb::Get, Verb::Lease, Verb::Fill].map(|verb| a.remote.hold(verb, At::Sent));
        let call = loading(&a, &db, &ids).await;
        let_one_go(&reads).await;
        assert_eq!(server.log(), [each("a MGET", 1), each("a LEASE", 999)].concat());
        let_one_go(&leases).await;
        assert_eq!(db.runs(), std::slice::from_ref(&ids));
        sleep(RUN).await;
        assert_eq!(server.log()[1000..], each("a FILL", 999));
        let_one_go(&fills).await;
        assert_eq!(call.await.unwrap(), Ok(rows(1, &ids)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_memory_has_is_not_read() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        load(&a, &db, &[1, 2, 3, 4]).await.unwrap();
        load(&b, &db, &[2, 4]).await.unwrap();
        server.forget();
        let sources = b.cache.scope(async { load_rows(&db, &[1, 2, 3, 4]).with_sources().await });
        let (read, sources) = sources.await;
        assert_eq!(read, Ok(rows(1, &[1, 2, 3, 4])));
        let from_redis = sources.iter().map(|source| matches!(source, Source::Redis { .. }));
        assert_eq!(from_redis.collect::<Vec<_>>(), [true, false, true, false], "{sources:?}");
        assert_eq!(server.keys_of("b MGET"), [keys(&[1, 3])]);
        assert_eq!(server.log(), ["b MGET"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peek_reads_at_once_and_neither_leases_nor_keeps() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        load(&a, &db, &[1, 2]).await.unwrap();
        server.forget();
        for _ in 0..2 {
            let peeked = b.cache.scope(async { load_rows(&db, &[1, 2, 3]).peek().await }).await;
            assert_eq!(peeked, Ok(rows(1, &[1, 2])));
        }
        assert_eq!(server.keys_of("b MGET"), [keys(&[1, 2, 3]), keys(&[1, 2, 3])]);
        assert_eq!(server.log(), ["b MGET", "b MGET"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_reads_nothing_and_takes_every_lease() {
        let (server, a) = node::alone();
        let db = Db::default();
        load(&a, &db, &[1]).await.unwrap();
        server.set(&key(2), lease());
        server.forget();
        let read = a.cache.scope(async { load_rows(&db, &[1, 2]).refresh().await }).await;
        assert_eq!(read, Ok(rows(2, &[1, 2])));
        assert_eq!(server.log(), [each("a LEASE refresh", 2), each("a FILL", 2)].concat());
        assert_eq!(load(&a, &db, &[1, 2]).await, Ok(rows(2, &[1, 2])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_without_the_cache_asks_nothing() {
        let (server, a) = node::alone();
        let db = Db::default();
        let read = a.cache.scope(async { load_rows(&db, &[1, 2]).uncached().await }).await;
        assert_eq!(read, Ok(rows(1, &[1, 2])));
        assert_eq!(server.log(), [""; 0]);
    }

    #[cached(ttl = 60, local = false, key = "row:{id}", skip(db), each(id in ids))]
    async fn load_far(db: &Db, ids: &[u64]) -> Result<Rows, String> {
        db.load(ids).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_out_of_memory_is_read_each_time() {
        let (server, a) = node::alone();
        let db = Db::default();
        let twice = async {
            for _ in 0..2 {
                assert_eq!(load_far(&db, &[1, 2]).await, Ok(rows(1, &[1, 2])));
            }
        };
        a.cache.scope(twice).await;
        let expected =
            [each("a MGET", 1), each("a LEASE", 2), each("a FILL", 2), each("a MGET", 1)];
        assert_eq!(server.log(), expected.concat());
    }

    #[tokio::test(start_paused = true)]
    async fn of_overlapping_batches_that_are_kept_out_of_memory_each_element_is_loaded_once() {
        let (_server, a) = node::alone();
        let db = Db::default();
        let both = async {
            tokio::join!(
                load_far(&db, &[1, 2, 3]),
                load_far(&db, &[4, 3, 2]),
                load_far(&db, &[4, 1])
            )
        };
        let (one, two, three) = a.cache.scope(both).await;
        assert_eq!(one.unwrap().len() + two.unwrap().len() + three.unwrap().len(), 8);
        assert_eq!(db.runs(), [vec![1, 2, 3], vec![4]]);
    }

    #[cached(ttl = 60, remote = false, key = "row:{id}", skip(db), each(id in ids))]
    async fn load_near(db: &Db, ids: &[u64]) -> Result<Rows, String> {
        db.load(ids).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_in_memory_is_asked_of_nobody() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        for _ in 0..2 {
            let read = a.cache.scope(async { load_near(&db, &[1, 2]).await }).await;
            assert_eq!(read, Ok(rows(1, &[1, 2])));
        }
        assert_eq!(server.log(), [""; 0]);
        // But that it is not any more is told to everybody.
        b.cache.scope(async { load_near(&db, &[1]).invalidate().await }).await.unwrap();
        let read = a.cache.scope(async { load_near(&db, &[1, 2]).await }).await;
        assert_eq!(read, Ok(rows_of(&[(1, &[2]), (2, &[1])])));
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_invalidated_in_one_go_in_every_process() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        load(&a, &db, &[1, 2, 3]).await.unwrap();
        load(&b, &db, &[1, 2, 3]).await.unwrap();
        server.forget();
        let gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let invalidating = a.spawn(async { load_rows(&Db::default(), &[1, 3]).invalidate().await });
        sleep(MOMENT).await;
        let_one_go(&gate).await;
        invalidating.await.unwrap().unwrap();
        assert_eq!(server.log(), ["a INVALIDATE", "a INVALIDATE"]);
        for node in [&a, &b] {
            let left = node.cache.scope(async { load_rows(&db, &[1, 2, 3]).peek().await });
            assert_eq!(left.await, Ok(rows(1, &[2])));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_says_what_did_not_land() {
        let (_server, a) = node::alone();
        let db = Db::default();
        load(&a, &db, &[1, 2, 3]).await.unwrap();
        a.remote.refuse(&key(2));
        let outcome = a.cache.scope(async { load_rows(&db, &[1, 2, 3]).invalidate().await }).await;
        match outcome {
            Err(larder::Error::NotLanded { keys, .. }) => assert_eq!(keys, ["row:2"]),
            outcome => panic!("{outcome:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_is_held_and_stored_for_every_process() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        load(&a, &db, &[3]).await.unwrap();
        server.forget();
        let put =
            a.cache.scope(async { load_rows(&db, &[1, 2, 3]).put(Ok(rows(9, &[1, 2]))).await });
        put.await.unwrap();
        assert_eq!(server.log(), [each("a HOLD", 3), each("a SETTLE", 3)].concat());
        for node in [&a, &b] {
            let peeked = node.cache.scope(async { load_rows(&db, &[1, 2, 3]).peek().await }).await;
            // What the output lacks is not stored, and what was there is gone.
            assert_eq!(peeked, Ok(rows(9, &[1, 2])));
        }
    }
}

mod tags {
    use super::*;

    #[cached(
        ttl = 60,
        key = "row:{id}",
        tags("rows", ("page:{page}", page = id / 10)),
        skip(db),
        each(id in ids),
    )]
    async fn load_tagged(db: &Db, ids: &[u64]) -> Result<Rows, String> {
        db.load(ids).await
    }

    async fn load(node: &Node, db: &Db, ids: &[u64]) -> Result<Rows, String> {
        node.cache.scope(async { load_tagged(db, ids).await }).await
    }

    #[tokio::test(start_paused = true)]
    async fn elements_go_with_their_tags() {
        let (_server, a, b) = node::pair();
        let db = Db::default();
        for node in [&a, &b] {
            assert_eq!(load(node, &db, &[1, 2, 11]).await, Ok(rows(1, &[1, 2, 11])));
        }
        b.cache.invalidate_tag("page:0").await.unwrap();
        for node in [&b, &a] {
            let read = load(node, &db, &[1, 2, 11]).await;
            assert_eq!(read, Ok(rows_of(&[(1, &[11]), (2, &[1, 2])])));
        }
        assert_eq!(db.runs()[1..], [[1, 2]]);
        a.cache.invalidate_tag("rows").await.unwrap();
        assert_eq!(load(&b, &db, &[1, 2, 11]).await, Ok(rows(3, &[1, 2, 11])));
    }

    #[tokio::test(start_paused = true)]
    async fn stamps_are_read_once_for_all_elements() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        load(&a, &db, &[1, 2, 11]).await.unwrap();
        server.forget();
        load(&b, &db, &[1, 2, 11]).await.unwrap();
        // The values, and what stands there of their tags.
        assert_eq!(server.log(), ["b MGET", "b MGET"]);
        assert_eq!(db.runs().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_element_whose_tag_goes_while_it_is_loaded_is_not_stored_and_others_are() {
        let (_server, a) = node::alone();
        let db = Db::default();
        let of_task = db.clone();
        let call = a.spawn(async move { load_tagged(&of_task, &[1, 11]).await });
        sleep(MOMENT).await;
        a.cache.invalidate_tag("page:1").await.unwrap();
        assert_eq!(call.await.unwrap(), Ok(rows(1, &[1, 11])));
        let read = load(&a, &db, &[1, 11]).await;
        assert_eq!(read, Ok(rows_of(&[(1, &[1]), (2, &[11])])));
    }
}

mod leases {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_another_process_loads_is_waited_for_and_not_run() {
        let (server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        let single = getting(&a, &of_a, 2).await;
        let batch = loading(&b, &of_b, &[1, 2]).await;
        assert_eq!(of_b.runs(), [[0; 0]; 0]);
        single.await.unwrap().unwrap();
        assert_eq!(batch.await.unwrap(), Ok(rows(1, &[1, 2])));
        assert_eq!((of_a.runs(), of_b.runs()), (vec![vec![2]], vec![vec![1]]));
        assert_eq!(server.log_of(&key(1)), ["b MGET", "b LEASE", "b FILL"]);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_one_that_is_waited_for_no_lease_is_kept() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        server.set(&key(2), lease());
        let batch = loading(&a, &db, &[3, 1, 2]).await;
        assert_eq!(server.log_of(&key(3)), ["a MGET", "a LEASE", "a RELEASE"]);
        assert!(matches!(server.state(&key(1)), State::Lease(_)));
        assert_eq!(server.state(&key(3)), State::Absent);
        // Whoever wants it may have it.
        let of_b = Db::default();
        assert_eq!(timed(get(&b, &of_b, 3)).await, (Ok(row(1, 3)), RUN));
        server.set(&key(2), State::Value(stored("9 of run 9", &server, 3), None));
        let (read, took) = timed(batch).await;
        let mut expected = rows(1, &[3, 1]);
        expected.insert(2, "9 of run 9".to_owned());
        assert_eq!((read.unwrap(), took), (Ok(expected), RUN));
        assert_eq!(db.runs(), [[1]]);
    }

    /// A value of such a function, by the fingerprint of another row.
    fn stored(text: &str, server: &Server, other: u64) -> larder::__private::Found {
        let fingerprint = server.value(&key(other)).unwrap().fingerprint;
        found(&format!("{text:?}"), fingerprint)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_back_is_asked_for_once_more_and_run_with_the_others() {
        let (server, a) = node::alone();
        let db = Db::default();
        server.set(&key(2), lease());
        let batch = loading(&a, &db, &[1, 2, 3, 4]).await;
        // Its run has stored nothing.
        server.set(&key(2), State::Absent);
        assert_eq!(batch.await.unwrap(), Ok(rows(1, &[1, 2, 3, 4])));
        assert_eq!(db.runs(), [[1, 2, 3, 4]]);
        for id in 1..5 {
            assert!(server.value(&key(id)).is_some(), "{id}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn batches_of_two_processes_whose_leases_interleave_wait_for_no_lease_to_end() {
        let (server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        server.set(&key(2), lease());
        // It has the first, and gives back the third.
        let one = loading(&a, &of_a, &[1, 2, 3]).await;
        // That would have the third, and waits for the first.
        let other = loading(&b, &of_b, &[3, 1]).await;
        server.set(&key(2), State::Absent);
        let ((one, other), took) = timed(async { tokio::join!(one, other) }).await;
        assert!(took <= 2 * RUN, "{took:?}");
        assert_eq!(one.unwrap().unwrap().len(), 3);
        assert_eq!(other.unwrap().unwrap().len(), 2);
        let mut loaded = [of_a.runs(), of_b.runs()].concat().concat();
        loaded.sort_unstable();
        assert_eq!(loaded, [1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_granted_before_a_smaller_one_is_asked_for_again_is_given_back() {
        let server = Server::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| Node::new(&server, name));
        let (of_a, of_b) = (Db::default(), Db::default());
        load(&a, &of_a, &[7]).await.unwrap();
        // Somebody has the first, and a third process has the third and is about to give it back.
        server.set(&key(0), lease());
        server.set(&key(1), lease());
        let releases = c.remote.hold(Verb::Release, At::Sent);
        let giving_back = loading(&c, &of_b, &[0, 3]).await;
        let batch = loading(&a, &of_a, &[1, 2, 3]).await;
        // It is about to have the third when the first is there, and then asks for the second again.
        let leases = a.remote.hold(Verb::Lease, At::Sent);
        releases.open();
        giving_back.abort();
        sleep(MOMENT).await;
        server.set(&key(1), State::Value(stored("1 of run 9", &server, 7), None));
        sleep(MOMENT).await;
        leases.let_one_go();
        sleep(MOMENT).await;
        // Which another has by then.
        let single = getting(&b, &of_b, 2).await;
        leases.open();
        assert_eq!(single.await.unwrap(), Ok(row(1, 2)));
        let expected = rows_of(&[(9, &[1]), (1, &[2]), (2, &[3])]);
        assert_eq!(batch.await.unwrap(), Ok(expected), "{:?}", server.log());
        assert_eq!((of_a.runs(), of_b.runs()), (vec![vec![7], vec![3]], vec![vec![2]]));
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_greater_lease_none_is_waited_for() {
        let (server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        // Another call of this process reads the first, and its batch has the second.
        let _reads = a.remote.hold(Verb::Get, At::Sent);
        let single = getting(&a, &of_a, 1).await;
        a.remote.answer(Verb::Get);
        let one = loading(&a, &of_a, &[1, 2]).await;
        // The other has the first.
        let other = loading(&b, &of_b, &[1, 2]).await;
        single.abort();
        let ((one, other), took) = timed(async { tokio::join!(one, other) }).await;
        assert!(took < LEASE / 2, "{took:?}: {:?}", server.log());
        assert_eq!(one.unwrap().unwrap().len(), 2);
        assert_eq!(other.unwrap().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_that_wait_for_others_of_their_processes_wait_for_no_lease_to_end() {
        let (server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        // One waits for the first, which is slow to be read, and would have the third.
        let reads = b.remote.hold(Verb::Get, At::Sent);
        let slow = loading(&b, &of_b, &[1]).await;
        b.remote.answer(Verb::Get);
        let of_first_and_third = loading(&b, &of_b, &[1, 3]).await;
        // In the other process one waits for the third, and has the second; and one for that, and has the
        // first.
        let of_second_and_third = loading(&a, &of_a, &[2, 3]).await;
        let of_first_and_second = loading(&a, &of_a, &[1, 2]).await;
        reads.open();
        let all = [slow, of_first_and_third, of_second_and_third, of_first_and_second];
        let began = tokio::time::Instant::now();
        for call in all {
            call.await.unwrap().unwrap();
        }
        assert!(began.elapsed() < 4 * RUN, "{:?} {:?}", began.elapsed(), server.log());
        let mut loaded = [of_a.runs(), of_b.runs()].concat().concat();
        loaded.sort_unstable();
        assert_eq!(loaded, [1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_batch_that_waits_for_a_lease_has_none() {
        let server = Server::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| Node::new(&server, name));
        let (of_a, of_b) = (Db::default(), Db::default());
        // A third process has the fifth, and is about to give it back.
        server.set(&key(4), lease());
        let releases = c.remote.hold(Verb::Release, At::Sent);
        let of_fourth_and_fifth = loading(&c, &of_a, &[4, 5]).await;
        // It has the first, and waits for the fifth.
        let of_first_and_fifth = loading(&a, &of_a, &[1, 5]).await;
        // It waits for the first.
        let of_first_and_ninth = loading(&b, &of_b, &[1, 9]).await;
        // It waits for that, and may have the fifth before the first one does.
        let reads = a.remote.hold(Verb::Get, At::Sent);
        releases.open();
        of_fourth_and_fifth.abort();
        sleep(MOMENT).await;
        let of_fifth_and_ninth = loading(&b, &of_b, &[5, 9]).await;
        reads.open();
        let all = [of_first_and_fifth, of_first_and_ninth, of_fifth_and_ninth];
        let began = tokio::time::Instant::now();
        for call in all {
            call.await.unwrap().unwrap();
        }
        assert!(began.elapsed() < 4 * RUN, "{:?} {:?}", began.elapsed(), server.log());
        let mut loaded = [of_a.runs(), of_b.runs()].concat().concat();
        loaded.sort_unstable();
        assert_eq!(loaded, [1, 5, 9], "{:?}", server.log());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_given_back_lets_one_of_those_who_wait_run() {
        let server = Server::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| Node::new(&server, name));
        let db = Db::default();
        server.set(&key(1), lease());
        // The second is granted to the batch, and given back while two wait for it.
        let releases = a.remote.hold(Verb::Release, At::Sent);
        let batch = loading(&a, &db, &[1, 2]).await;
        let singles = [getting(&b, &db, 2).await, getting(&c, &db, 2).await];
        releases.open();
        for single in singles {
            assert_eq!(single.await.unwrap(), Ok(row(1, 2)));
        }
        server.set(&key(1), State::Absent);
        assert_eq!(batch.await.unwrap(), Ok(rows_of(&[(1, &[2]), (2, &[1])])));
        assert_eq!(db.runs(), [[2], [1]]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_leases_do_not_end_the_function_runs_after_one() {
        let (server, a) = node::alone();
        let db = Db::default();
        for id in [1, 3] {
            server.set(&key(id), lease());
        }
        let (read, took) = timed(load(&a, &db, &[1, 2, 3])).await;
        assert_eq!(read, Ok(rows(1, &[1, 2, 3])));
        assert!(took >= LEASE && took <= LEASE + SECOND, "{took:?}");
        assert_eq!(db.runs(), [[1, 2, 3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_that_another_process_loads_are_waited_for_without_much_ado() {
        let (_server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        let ids: Vec<u64> = (0..1000).collect();
        let began = RealInstant::now();
        let one = loading(&a, &of_a, &ids).await;
        let other = loading(&b, &of_b, &ids).await;
        assert_eq!(one.await.unwrap().unwrap().len(), 1000);
        assert_eq!(other.await.unwrap().unwrap().len(), 1000);
        assert_eq!((of_a.runs().len(), of_b.runs().len()), (1, 0));
        // Of a machine that is busy.
        assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
    }
}

mod trouble {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(100);

    fn hurried(server: &Arc<Server>) -> Node {
        Node::with(server, "a", |cache| cache.redis_budget(BUDGET))
    }

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_hangs_costs_one_budget() {
        for verb in [Verb::Get, Verb::Lease, Verb::Fill] {
            let server = Server::new();
            let a = hurried(&server);
            let db = Db::default();
            a.remote.hang(verb);
            let (read, took) = timed(load(&a, &db, &[1, 2, 3])).await;
            assert_eq!((read, took), (Ok(rows(1, &[1, 2, 3])), RUN + BUDGET), "{verb:?}");
            // What was loaded is kept here for a moment.
            assert_eq!(db.runs().len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_commands_together_have_one_budget() {
        let server = Server::new();
        let a = hurried(&server);
        let db = Db::default();
        a.remote.delay(Verb::Get, 60 * MOMENT);
        a.remote.delay(Verb::Lease, 60 * MOMENT);
        let (read, took) = timed(load(&a, &db, &[1, 2, 3])).await;
        assert_eq!((read, took), (Ok(rows(1, &[1, 2, 3])), RUN + BUDGET));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_cannot_be_given_back_keeps_nobody_waiting() {
        let server = Server::new();
        let a = hurried(&server);
        let db = Db::default();
        server.set(&key(1), lease());
        a.remote.hang(Verb::Release);
        let batch = loading(&a, &db, &[1, 2]).await;
        server.set(&key(1), State::Absent);
        let (read, took) = timed(batch).await;
        assert_eq!(read.unwrap(), Ok(rows(1, &[1, 2])));
        assert!(took <= RUN + BUDGET, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_is_cut_off_costs_no_value() {
        let server = Server::new();
        let a = hurried(&server);
        let db = Db::default();
        a.remote.cut_off();
        assert_eq!(timed(load(&a, &db, &[1, 2])).await, (Ok(rows(1, &[1, 2])), RUN));
        let both = async { tokio::join!(load_rows(&db, &[3, 4]), load_rows(&db, &[4, 5])) };
        let (one, other) = a.cache.scope(both).await;
        assert_eq!((one, other), (Ok(rows(2, &[3, 4])), Ok(rows_of(&[(2, &[4]), (3, &[5])]))));
    }

    #[tokio::test(start_paused = true)]
    async fn one_value_that_is_refused_keeps_no_other_from_being_stored() {
        let (server, a) = node::alone();
        let db = Db::default();
        a.remote.refuse(&key(2));
        assert_eq!(load(&a, &db, &[1, 2, 3]).await, Ok(rows(1, &[1, 2, 3])));
        let stored = [1, 2, 3].map(|id| server.value(&key(id)).is_some());
        assert_eq!(stored, [true, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_invalidated_elsewhere_while_it_is_loaded_is_not_stored_and_others_are() {
        let (server, a, b) = node::pair();
        let db = Db::default();
        let batch = loading(&a, &db, &[1, 2]).await;
        b.cache.scope(async { get_row(&db, 1).invalidate().await }).await.unwrap();
        assert_eq!(batch.await.unwrap(), Ok(rows(1, &[1, 2])));
        assert_eq!(server.state(&key(1)), State::Absent);
        assert_eq!(load(&a, &db, &[1, 2]).await, Ok(rows_of(&[(1, &[2]), (2, &[1])])));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_gives_all_leases_back() {
        let (server, a) = node::alone();
        let db = Db::acting(&[Fail]);
        assert_eq!(load(&a, &db, &[1, 2]).await, Err("run 1".to_owned()));
        sleep(MOMENT).await;
        assert_eq!([1, 2].map(|id| server.state(&key(id))), [State::Absent, State::Absent]);
    }
}

mod cancelled {
    use super::*;

    /// A batch is cancelled where such commands are. Whoever waits for one of its elements, here or in
    /// another process, takes over.
    async fn at(verb: Verb, at: At) {
        let (server, a, b) = node::pair();
        let (db, of_b) = (Db::default(), Db::default());
        let gate = a.remote.hold(verb, at);
        let batch = loading(&a, &db, &[1, 2, 3]).await;
        sleep(2 * RUN).await;
        let single = getting(&a, &db, 2).await;
        let other = loading(&b, &of_b, &[3, 4]).await;
        batch.abort();
        gate.open();
        let ((single, other), took) = timed(async { tokio::join!(single, other) }).await;
        assert!(single.unwrap().unwrap().starts_with("2 of"));
        assert_eq!(other.unwrap().unwrap().len(), 2);
        assert!(took <= 2 * RUN, "{verb:?} {at:?}: {took:?}");
        sleep(MOMENT).await;
        for id in 1..5 {
            let state = server.state(&key(id));
            assert!(!matches!(state, State::Lease(_)), "{verb:?} {at:?}: {id} is {state:?}");
        }
        assert_eq!(load(&a, &db, &[1, 2, 3, 4]).await.unwrap().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn before_or_after_its_read() {
        at(Verb::Get, At::Sent).await;
        at(Verb::Get, At::Answered).await;
    }

    #[tokio::test(start_paused = true)]
    async fn before_or_after_its_leases() {
        at(Verb::Lease, At::Sent).await;
        at(Verb::Lease, At::Answered).await;
    }

    #[tokio::test(start_paused = true)]
    async fn before_or_after_its_values_are_stored() {
        at(Verb::Fill, At::Sent).await;
        at(Verb::Fill, At::Answered).await;
    }

    #[tokio::test(start_paused = true)]
    async fn in_its_run() {
        let (server, a, b) = node::pair();
        let (db, of_b) = (Db::acting(&[Slow(3600 * SECOND)]), Db::default());
        let batch = loading(&a, &db, &[1, 2, 3]).await;
        let single = getting(&a, &db, 2).await;
        let other = loading(&b, &of_b, &[3, 4]).await;
        batch.abort();
        let (single, took) = timed(single).await;
        assert_eq!((single.unwrap(), took), (Ok(row(2, 2)), RUN));
        let (other, took) = timed(other).await;
        assert_eq!((other.unwrap(), took), (Ok(rows(1, &[3, 4])), Duration::ZERO));
        assert_eq!(server.state(&key(1)), State::Absent);
        assert_eq!((db.runs(), of_b.runs()), (vec![vec![1, 2, 3], vec![2]], vec![vec![3, 4]]));
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_gives_leases_back() {
        for at in [At::Sent, At::Answered] {
            let (server, a) = node::alone();
            let db = Db::default();
            server.set(&key(2), lease());
            let gate = a.remote.hold(Verb::Release, at);
            let batch = loading(&a, &db, &[1, 2, 3]).await;
            batch.abort();
            sleep(MOMENT).await;
            gate.open();
            sleep(MOMENT).await;
            let states = [1, 3].map(|id| server.state(&key(id)));
            assert_eq!(states, [State::Absent, State::Absent], "{at:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_waits_for_another_process() {
        let (server, a, b) = node::pair();
        let (db, of_b) = (Db::default(), Db::default());
        server.set(&key(2), lease());
        let batch = loading(&a, &db, &[1, 2, 3]).await;
        let single = getting(&a, &db, 1).await;
        let other = loading(&b, &of_b, &[3]).await;
        batch.abort();
        assert_eq!(timed(single).await.1, RUN);
        assert_eq!(other.await.unwrap().unwrap().len(), 1);
        assert!(matches!(server.state(&key(2)), State::Lease(_)));
    }
}

mod old {
    use super::*;

    #[cached(ttl = 60, stale = 30, key = "row:{id}", skip(db), each(id in ids))]
    async fn load_owned(db: Db, ids: &[u64]) -> Result<Rows, String> {
        db.load(ids).await
    }

    #[cached(
        ttl = 60,
        stale_if_error = 600,
        max_wait = "50ms",
        key = "row:{id}",
        skip(db),
        each(id in ids),
    )]
    async fn load_bounded(db: Db, ids: &[u64]) -> Result<Rows, String> {
        db.load(ids).await
    }

    async fn after(nodes: &[&Node], time: Duration) {
        for node in nodes {
            node.clock.advance(time);
        }
        sleep(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_all_processes_one_refreshes() {
        let (server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        let in_a = || a.cache.scope(async { load_owned(of_a.clone(), &[1, 2]).await });
        let in_b = || b.cache.scope(async { load_owned(of_b.clone(), &[1, 2]).await });
        in_a().await.unwrap();
        in_b().await.unwrap();
        after(&[&a, &b], 61 * SECOND).await;
        server.forget();
        for _ in 0..2 {
            assert_eq!(timed(in_a()).await, (Ok(rows(1, &[1, 2])), Duration::ZERO));
            assert_eq!(timed(in_b()).await, (Ok(rows(1, &[1, 2])), Duration::ZERO));
            sleep(MOMENT).await;
        }
        sleep(2 * RUN).await;
        assert_eq!((of_a.runs().len() - 1, of_b.runs().len()), (1, 0));
        assert_eq!(in_a().await, Ok(rows(2, &[1, 2])));
        assert_eq!(server.keys_of("a FILL").len(), 2);
        // It finds them when it wants to refresh them.
        after(&[&a, &b], SECOND).await;
        assert_eq!(in_b().await, Ok(rows(1, &[1, 2])));
        sleep(MOMENT).await;
        assert_eq!(in_b().await, Ok(rows(2, &[1, 2])));
        assert_eq!(of_b.runs().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn old_and_missing_elements_of_the_tier_have_one_run() {
        let (server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        a.cache.scope(async { load_owned(of_a.clone(), &[1]).await }).await.unwrap();
        after(&[&a, &b], 61 * SECOND).await;
        server.forget();
        let read = b.cache.scope(async { load_owned(of_b.clone(), &[1, 2]).await });
        let mut expected = rows(1, &[1, 2]);
        assert_eq!(timed(read).await, (Ok(expected.clone()), RUN));
        sleep(MOMENT).await;
        assert_eq!(of_b.runs(), [[1, 2]]);
        expected = b.cache.scope(async { load_owned(of_b.clone(), &[1, 2]).await }).await.unwrap();
        assert_eq!(expected, rows(1, &[1, 2]));
        assert_eq!(server.log()[..3], ["b MGET", "b LEASE", "b LEASE"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_has_refreshed_keeps_nothing_else_waiting() {
        let (server, a, b) = node::pair();
        let (of_a, of_b) = (Db::default(), Db::default());
        a.cache.scope(async { load_bounded(of_a.clone(), &[1, 2]).await }).await.unwrap();
        after(&[&a, &b], 300 * SECOND).await;
        // One is refreshed by another process. The batch waits for that, and then refreshes the other.
        let of_task = of_a.clone();
        let single = a.spawn(async move { load_bounded(of_task, &[1]).await });
        sleep(MOMENT).await;
        let read = b.cache.scope(async { load_bounded(of_b.clone(), &[1, 2]).await });
        let (read, took) = timed(read).await;
        assert_eq!((read.unwrap().len(), took), (2, RUN / 2));
        single.await.unwrap().unwrap();
        sleep(3 * RUN).await;
        assert_eq!(of_b.runs(), [[2]]);
        assert_eq!(server.value(&key(2)).unwrap().payload, br#""2 of run 1""#);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_error_that_the_tier_confirms_all_old_values_are_served() {
        let (server, a) = node::alone();
        let db = Db::default();
        let load = || a.cache.scope(async { load_bounded(db.clone(), &[1, 2]).await });
        load().await.unwrap();
        after(&[&a], 300 * SECOND).await;
        db.act(&[Fail]);
        let (read, took) = timed(load()).await;
        assert_eq!((read, took), (Ok(rows(1, &[1, 2])), RUN / 2));
        sleep(RUN).await;
        // And then they are read again.
        let log = server.log_of(&key(2));
        assert!(log.ends_with(&["a RELEASE".to_owned(), "a MGET".to_owned()]), "{log:?}");
        assert_eq!(timed(load()).await, (Ok(rows(1, &[1, 2])), Duration::ZERO));
        assert_eq!(db.runs().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_element_whose_value_is_too_old_for_who_waits_is_read_once_more() {
    let (server, a, b) = node::pair();
    let db = Db::default();
    load(&b, &db, &[1]).await.unwrap();
    // A read that was sent before the change, and answered after it. Its process hears nothing.
    a.remote.prove();
    let answers = a.remote.hold(Verb::Get, At::Answered);
    let single = getting(&a, &db, 1).await;
    a.remote.notice_break();
    a.clock.advance(2 * 3600 * SECOND);
    b.cache.scope(async { get_row(&db, 1).invalidate().await }).await.unwrap();
    let batch = loading(&a, &db, &[1, 2]).await;
    a.remote.answer(Verb::Get);
    answers.open();
    assert_eq!(single.await.unwrap(), Ok(row(1, 1)));
    assert_eq!(batch.await.unwrap(), Ok(rows(2, &[1, 2])), "{:?}", server.log());
}
