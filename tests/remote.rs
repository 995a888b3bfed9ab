//! What a load asks of the tier that a fleet shares, in which order, and what it makes of the
//! answers. Each cache is a process of the fleet.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    At, Server, State, Verb, found,
    node::{Failed, KEY, LEASE, MOMENT, Node, RUN, Script, alone, job, pair},
};
use larder::{__private::Token, Cache, Error, ManualClock, Options, Source, cached};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// What a wait for a run elsewhere may take longer than the lease.
const POLL: Duration = Duration::from_millis(50);

mod reads {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_miss_reads_leases_runs_and_fills() {
        let (server, a) = alone();
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert_eq!(server.log_of(KEY), ["a GET", "a LEASE", "a FILL"]);
        assert_eq!(server.value(KEY).unwrap().payload, b"1");
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_arc_travels_as_what_is_in_it() {
        #[cached(ttl = 60, key = "name:{id}")]
        async fn name(id: u64) -> Result<Arc<String>, Failed> {
            Ok(Arc::new(format!("user {id}")))
        }
        let (server, a, b) = pair();
        let written = a.cache.scope(async { name(1).await }).await;
        assert_eq!(server.value("test:name:1").unwrap().payload, b"\"user 1\"");
        let read = b.cache.scope(async { name(1).with_source().await }).await;
        assert_eq!(read.0, written);
        assert!(matches!(read.1, Source::Redis { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hit_in_memory_asks_nothing() {
        let (server, a) = alone();
        let script = Script::new();
        a.job(&script).await.unwrap();
        server.forget();
        assert_eq!(a.job(&script).await, Ok(1));
        assert_eq!(server.log(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_found_is_kept_and_not_run() {
        let (server, a, b) = pair();
        let script = Script::new();
        a.job(&script).await.unwrap();
        server.forget();
        assert_eq!(b.job(&script).await, Ok(1));
        assert_eq!(b.job(&script).await, Ok(1));
        assert_eq!(server.log(), ["b GET"]);
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_one_process_share_what_is_found() {
        let (server, a, b) = pair();
        a.job(&Script::new()).await.unwrap();
        server.forget();
        let gate = b.remote.hold(Verb::Get, At::Sent);
        let script = Script::new();
        let calls = [b.started(&script).await, b.started(&script).await, b.started(&script).await];
        gate.open();
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(server.log(), ["b GET"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_as_old_as_the_run_that_it_comes_from() {
        #[cached(ttl = 60, key = "aged", skip(clock))]
        async fn aged(clock: &ManualClock) -> u32 {
            clock.advance(Duration::from_secs(5));
            7
        }

        let (server, a, b) = pair();
        a.cache.scope(async { aged(&a.clock).await }).await;
        let found = server.value("test:aged").unwrap();
        assert_eq!((found.age, found.life), (Duration::from_secs(5), Duration::from_secs(60)));
        b.clock.advance(Duration::from_secs(3600));
        let read = b.cache.scope(async { aged(&b.clock).with_source().await }).await;
        assert_eq!(read, (7, Source::Redis { age: Duration::from_secs(5) }));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_keeps_a_found_value_for_what_is_left_of_its_life() {
        let (_server, a, b) = pair();
        a.job(&Script::new()).await.unwrap();
        sleep(Duration::from_secs(40)).await;
        b.job(&Script::new()).await.unwrap();
        b.clock.advance(Duration::from_nanos(19_999_999_999));
        assert_eq!(b.kept().await, Some(Ok(1)));
        b.clock.advance(Duration::from_nanos(1));
        assert_eq!(b.kept().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peek_reads_and_neither_leases_nor_keeps() {
        let (server, a, b) = pair();
        assert_eq!(b.peek().await, None);
        a.job(&Script::new()).await.unwrap();
        server.forget();
        assert_eq!(b.peek().await, Some(Ok(1)));
        assert_eq!(b.kept().await, None);
        assert_eq!(server.log(), ["b GET", "b GET"]);
    }

    #[cached(ttl = 60, local = false, key = "far:{id}", skip(script))]
    async fn far(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
        script.play().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_kept_out_of_memory_is_read_each_time() {
        let (server, a) = alone();
        let script = Script::new();
        let twice = async {
            far(Arc::clone(&script), 1).await.unwrap();
            assert_eq!(far(Arc::clone(&script), 1).await, Ok(1));
            assert_eq!(far(Arc::clone(&script), 1).await, Ok(1));
        };
        a.cache.scope(twice).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a FILL", "a GET", "a GET"]);
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_kept_out_of_memory_tells_its_life() {
        let (_server, a) = alone();
        let told = async {
            far(Script::new(), 1).await.unwrap();
            far(Script::new(), 1).expires_in().await
        };
        assert_eq!(a.cache.scope(told).await, Some(Duration::from_secs(60)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_that_is_switched_off_asks_nothing_but_invalidates() {
        let (server, a) = alone();
        a.cache.set_enabled(false);
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert_eq!(a.peek().await, None);
        a.invalidate().await.unwrap();
        assert_eq!(server.log(), ["a INVALIDATE"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_without_an_attribute_travels_too() {
        let (server, a, b) = pair();
        let a_minute = Options::ttl(Duration::from_secs(60));
        let load = async { Ok::<_, Failed>("Ada".to_owned()) };
        a.cache.get_or_load("name:1", a_minute, load).await.unwrap();
        let load = async { Err::<String, _>(Failed(1)) };
        assert_eq!(b.cache.get_or_load("name:1", a_minute, load).await, Ok("Ada".to_owned()));
        assert_eq!(server.value("test:name:1").unwrap().payload, b"\"Ada\"");
    }
}

mod leases {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_process_waits_for_the_run_of_the_first() {
        let (server, a, b) = pair();
        let script = Script::new();
        let first = a.started(&script).await;
        assert_eq!(b.job(&script).await, Ok(1));
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(script.runs(), 1);
        let log = ["a GET", "a LEASE", "b GET", "b LEASE", "b WAIT", "a FILL", "b GET"];
        assert_eq!(server.log(), log);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_came_before_the_lease_is_taken() {
        let (server, a, b) = pair();
        let script = Script::new();
        let gate = b.remote.hold(Verb::Lease, At::Sent);
        let second = b.started(&script).await;
        a.job(&script).await.unwrap();
        gate.open();
        assert_eq!(second.await.unwrap(), Ok(1));
        assert_eq!(b.kept().await, Some(Ok(1)));
        assert_eq!(server.log()[..5], ["b GET", "b LEASE", "a GET", "a LEASE", "a FILL"]);
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_gives_the_lease_back_and_the_other_process_runs() {
        let (server, a, b) = pair();
        let script = Script::failing(1);
        let first = a.started(&script).await;
        assert_eq!(b.job(&script).await, Ok(2));
        assert_eq!(first.await.unwrap(), Err(Failed(1)));
        let after = ["b WAIT", "a RELEASE", "b GET", "b LEASE", "b FILL"];
        assert_eq!(server.log()[4..], after);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_cannot_be_cached_gives_the_lease_back() {
        #[cached(ttl = 60, key = "odd", skip(script), cache_if = |run| run % 2 == 0)]
        async fn odd(script: Arc<Script>) -> Result<u32, Failed> {
            script.play().await
        }

        let (server, a, b) = pair();
        let script = Script::new();
        let run = |node: &Node| {
            let script = Arc::clone(&script);
            node.spawn(async move { odd(script).await })
        };
        let first = run(&a);
        sleep(MOMENT).await;
        let second = run(&b);
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(server.log()[4..], ["b WAIT", "a RELEASE", "b GET", "b LEASE", "b FILL"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_none_that_is_not_stored_gives_the_lease_back() {
        #[cached(ttl = 60, key = "none")]
        async fn none() -> Option<u32> {
            None
        }

        let (server, a) = alone();
        assert_eq!(a.cache.scope(async { none().await }).await, None);
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a RELEASE"]);
        assert_eq!(server.state("test:none"), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_leader_leaves_its_lease_to_the_follower() {
        let (server, a) = alone();
        let script = Script::new();
        let leader = a.started(&script).await;
        let follower = a.started(&script).await;
        leader.abort();
        assert_eq!(follower.await.unwrap(), Ok(2));
        assert_eq!(server.log(), ["a GET", "a LEASE", "a FILL"]);
        assert_eq!(a.kept().await, Some(Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_leader_alone_gives_its_lease_back() {
        let (server, a) = alone();
        let leader = a.started(&Script::new()).await;
        leader.abort();
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a RELEASE"]);
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_and_its_follower_cancelled_at_once_give_the_lease_back() {
        let (server, a) = alone();
        let script = Script::new();
        let leader = a.started(&script).await;
        let follower = a.started(&script).await;
        leader.abort();
        follower.abort();
        sleep(MOMENT).await;
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_panics_gives_its_lease_back() {
        #[cached(ttl = 60, key = "panicking")]
        async fn panicking() -> u32 {
            panic!("as it should")
        }

        let (server, a) = alone();
        assert!(a.spawn(async { panicking().await }).await.unwrap_err().is_panic());
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a RELEASE"]);
    }

    // Trace 11.
    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_granted_to_nobody_is_given_back() {
        let (server, a) = alone();
        let _gate = a.remote.hold(Verb::Lease, At::Answered);
        let leader = a.started(&Script::new()).await;
        assert!(matches!(server.state(KEY), State::Lease(_)));
        leader.abort();
        sleep(MOMENT).await;
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_does_not_wait_for_the_lease_that_its_leader_never_learned_of() {
        let (_server, a) = alone();
        let gate = a.remote.hold(Verb::Lease, At::Answered);
        let script = Script::new();
        let leader = a.started(&script).await;
        let follower = a.started(&script).await;
        leader.abort();
        gate.open();
        let began = Instant::now();
        assert_eq!(follower.await.unwrap(), Ok(1));
        assert!(began.elapsed() <= RUN + 5 * MOMENT);
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_whose_answer_is_lost_is_given_back() {
        let (server, a) = alone();
        a.remote.lose_answer(Verb::Lease);
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        sleep(MOMENT).await;
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_detached_run_fills_without_its_caller() {
        #[cached(ttl = 60, key = "detached", skip(script), detached)]
        async fn detached(script: Arc<Script>) -> Result<u32, Failed> {
            script.play().await
        }

        let (server, a) = alone();
        let script = Script::new();
        let caller = a.spawn({
            let script = Arc::clone(&script);
            async move { detached(script).await }
        });
        sleep(RUN / 2).await;
        caller.abort();
        sleep(RUN).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a FILL"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_given_back_after_a_shutdown_too() {
        let (server, a) = alone();
        a.cache.shutdown().await.unwrap();
        assert_eq!(a.job(&Script::failing(1)).await, Err(Failed(1)));
        sleep(MOMENT).await;
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_a_lease_that_is_being_given_back() {
        let (server, a) = alone();
        let gate = a.remote.hold(Verb::Release, At::Sent);
        assert_eq!(a.job(&Script::failing(1)).await, Err(Failed(1)));
        let cache = a.cache.clone();
        let shutdown = tokio::spawn(async move { cache.shutdown().await });
        sleep(MOMENT).await;
        assert!(!shutdown.is_finished());
        gate.open();
        shutdown.await.unwrap().unwrap();
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_error_that_is_not_shared_all_run_at_once() {
        let (_server, a) = alone();
        let script = Script::failing(100);
        let began = Instant::now();
        let mut calls = Vec::new();
        for _ in 0..5 {
            calls.push(a.started(&script).await);
        }
        for call in calls {
            call.await.unwrap().unwrap_err();
        }
        assert_eq!(script.runs(), 5);
        // Nobody waits for more than two runs.
        assert!(began.elapsed() <= 2 * RUN + 10 * MOMENT);
    }
}

mod fills {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fill_that_is_refused_loses_no_value_and_keeps_none() {
        let (server, a) = alone();
        let call = a.started(&Script::new()).await;
        // Another process invalidates, and its message is lost.
        server.set(KEY, State::Absent);
        assert_eq!(call.await.unwrap(), Ok(1));
        assert_eq!(a.kept().await, None);
        assert_eq!(server.value(KEY), None);
        assert_eq!(a.refused(), 1);
        assert_eq!(server.log_of(KEY)[..3], ["a GET", "a LEASE", "a FILL"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_that_is_refused_goes_to_those_who_waited() {
        let (server, a) = alone();
        let script = Script::new();
        let calls = [a.started(&script).await, a.started(&script).await];
        server.set(KEY, State::Absent);
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_that_fails_loses_no_value_and_gives_the_lease_back() {
        let (server, a) = alone();
        a.remote.fail(Verb::Fill);
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a FILL", "a RELEASE"]);
        assert_eq!(server.state(KEY), State::Absent);
        // So that a remote tier that is gone does not become a database that is.
        assert_eq!(a.kept().await, Some(Ok(1)));
        assert_eq!(a.refused(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_whose_answer_is_lost_leaves_the_value() {
        let (server, a) = alone();
        a.remote.lose_answer(Verb::Fill);
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        sleep(MOMENT).await;
        assert_eq!(server.value(KEY).unwrap().payload, b"1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_during_the_fill_leaves_no_lease() {
        let (server, a) = alone();
        let _gate = a.remote.hold(Verb::Fill, At::Sent);
        let call = a.started(&Script::new()).await;
        sleep(RUN).await;
        call.abort();
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a FILL", "a RELEASE"]);
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_without_a_stored_form_is_returned() {
        #[derive(Clone, Deserialize)]
        struct Unwritable;

        impl Serialize for Unwritable {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("never"))
            }
        }

        #[cached(ttl = 60, key = "unwritable")]
        async fn unwritable() -> Option<Unwritable> {
            Some(Unwritable)
        }

        let (server, a) = alone();
        assert!(a.cache.scope(async { unwritable().await }).await.is_some());
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a GET", "a LEASE", "a RELEASE"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_outlives_its_lease_stores_nothing() {
        let (server, a, b) = pair();
        let script = Script::new();
        let slow = a.started(&script).await;
        // It expires, and another process gets the next one.
        server.set(KEY, State::Absent);
        let other = b.started(&script).await;
        assert_eq!(slow.await.unwrap(), Ok(1));
        assert_eq!(other.await.unwrap(), Ok(2));
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
        assert_eq!((a.kept().await, b.kept().await), (None, Some(Ok(2))));
    }
}

mod invalidations {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_gone_here_and_behind() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        a.invalidate().await.unwrap();
        assert_eq!(a.kept().await, None);
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_by_text_reaches_the_same_key() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        a.cache.invalidate("job:1").await.unwrap();
        assert_eq!(a.kept().await, None);
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_invalidated_here_gives_its_lease_back_and_stores_nothing() {
        let (server, a) = alone();
        let call = a.started(&Script::new()).await;
        a.invalidate().await.unwrap();
        assert_eq!(call.await.unwrap(), Ok(1));
        assert_eq!(server.log(), ["a GET", "a LEASE", "a INVALIDATE", "a RELEASE"]);
        assert_eq!((a.kept().await, server.value(KEY)), (None, None));
        assert_eq!(a.refused(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_invalidated_elsewhere_stores_nothing() {
        let (server, a, b) = pair();
        let call = a.started(&Script::new()).await;
        b.invalidate().await.unwrap();
        assert_eq!(call.await.unwrap(), Ok(1));
        assert_eq!(server.log(), ["a GET", "a LEASE", "b INVALIDATE", "a FILL"]);
        assert_eq!((a.kept().await, server.value(KEY)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_whose_lease_is_newer_than_a_late_message_is_stored() {
        let (server, a, b) = pair();
        a.remote.keep_messages();
        b.invalidate().await.unwrap();
        let call = a.started(&Script::new()).await;
        a.remote.deliver();
        assert_eq!(call.await.unwrap(), Ok(1));
        assert_eq!(server.value(KEY).unwrap().payload, b"1");
        // Here nobody can tell which came first.
        assert_eq!(a.kept().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_after_a_message_joins_no_run_from_before_it() {
        let (_server, a, b) = pair();
        let script = Script::new();
        let first = a.started(&script).await;
        b.invalidate().await.unwrap();
        let second = a.started(&script).await;
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(1), Ok(2)));
        assert_eq!(a.kept().await, Some(Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_waits_elsewhere_runs_after_an_invalidation() {
        let (server, a, b) = pair();
        let script = Script::new();
        let first = a.started(&script).await;
        let second = b.started(&script).await;
        a.invalidate().await.unwrap();
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
        assert_eq!((a.kept().await, b.kept().await), (None, Some(Ok(2))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_from_before_is_not_kept_by_a_read_under_way() {
        let (_server, a, b) = pair();
        b.job(&Script::new()).await.unwrap();
        let gate = a.remote.hold(Verb::Get, At::Answered);
        let read = a.started(&Script::new()).await;
        a.invalidate().await.unwrap();
        gate.open();
        // The reader came before the invalidation, and may have what was there.
        assert_eq!(read.await.unwrap(), Ok(1));
        assert_eq!(a.kept().await, None);
    }

    // Trace 5.
    #[tokio::test(start_paused = true)]
    async fn an_unconfirmed_key_is_neither_read_nor_stored() {
        let (server, a) = alone();
        let script = Script::new();
        a.job(&script).await.unwrap();
        let _gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let _invalidation = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        server.forget();
        assert_eq!(a.peek().await, None);
        assert_eq!(a.job(&script).await, Ok(2));
        assert_eq!(a.job(&script).await, Ok(3));
        assert_eq!(server.log(), [""; 0]);
        // What the server has is still from before.
        assert_eq!(server.value(KEY).unwrap().payload, b"1");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_an_unconfirmed_key_share_a_run() {
        let (_server, a) = alone();
        let script = Script::new();
        let _gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let _invalidation = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        let calls = [a.started(&script).await, a.started(&script).await];
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(script.runs(), 1);
    }

    // Trace 5.
    #[tokio::test(start_paused = true)]
    async fn a_run_that_began_before_the_confirmation_stores_nothing() {
        let (_server, a) = alone();
        let script = Script::new();
        let gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let invalidation = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        let unconfirmed = a.started(&script).await;
        gate.open();
        invalidation.await.unwrap().unwrap();
        // Later callers do not join it.
        assert_eq!(a.job(&script).await, Ok(2));
        assert_eq!(unconfirmed.await.unwrap(), Ok(1));
        assert_eq!(a.kept().await, Some(Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn other_keys_are_not_held_up() {
        let (server, a) = alone();
        let _gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let _invalidation = a.spawn(async { job(Script::new(), 2).invalidate().await });
        sleep(MOMENT).await;
        a.job(&Script::new()).await.unwrap();
        assert_eq!(server.log_of(KEY), ["a GET", "a LEASE", "a FILL"]);
    }

    /// The next call of a key that is not trusted any more asks nothing.
    async fn bypasses(server: &Server, node: &Node) -> bool {
        server.forget();
        node.job(&Script::new()).await.unwrap();
        // But for the repair.
        let asked = server.log().iter().any(|entry| entry != "a INVALIDATE");
        !asked && node.kept().await.is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_that_fails_says_so_and_leaves_the_key_untrusted() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        a.remote.fail(Verb::Invalidate);
        assert!(matches!(a.invalidate().await, Err(Error::Unavailable)));
        assert!(bypasses(&server, &a).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_invalidation_makes_up_for_those_that_failed() {
        let (server, a) = alone();
        a.remote.fail(Verb::Invalidate);
        a.invalidate().await.unwrap_err();
        a.invalidate().await.unwrap_err();
        a.remote.answer(Verb::Invalidate);
        a.invalidate().await.unwrap();
        assert!(!bypasses(&server, &a).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_that_is_dropped_leaves_the_key_untrusted() {
        let (server, a) = alone();
        let _gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let invalidation = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        invalidation.abort();
        assert!(bypasses(&server, &a).await);
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_invalidations_the_later_has_to_be_confirmed() {
        let (server, a) = alone();
        let gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let first = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        let second = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        gate.let_one_go();
        first.await.unwrap().unwrap();
        assert!(bypasses(&server, &a).await);
        gate.let_one_go();
        second.await.unwrap().unwrap();
        assert!(!bypasses(&server, &a).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_invalidated_elsewhere_stores_nothing_though_nobody_hears_of_it() {
        let (server, a, b) = pair();
        a.remote.go_deaf();
        let call = a.started(&Script::new()).await;
        b.invalidate().await.unwrap();
        assert_eq!(call.await.unwrap(), Ok(1));
        assert_eq!(server.log(), ["a GET", "a LEASE", "b INVALIDATE", "a FILL"]);
        assert_eq!((a.kept().await, server.value(KEY)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_empties_all_and_a_run_under_way_stores_nothing() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        let under_way = a.spawn(async { job(Script::new(), 2).await });
        sleep(MOMENT).await;
        a.cache.clear().await.unwrap();
        under_way.await.unwrap().unwrap();
        assert_eq!(a.kept().await, None);
        assert_eq!((server.state(KEY), server.state("test:job:2")), (State::Absent, State::Absent));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_that_fails_says_so_and_empties_memory() {
        let (_server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        a.remote.fail(Verb::Clear);
        assert!(matches!(a.cache.clear().await, Err(Error::Unavailable)));
        assert_eq!(a.kept().await, None);
    }

    // Trace 5.
    #[tokio::test(start_paused = true)]
    async fn what_was_read_while_a_clear_was_unconfirmed_is_not_kept() {
        let (_server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        let gate = a.remote.hold(Verb::Clear, At::Sent);
        let cache = a.cache.clone();
        let clear = tokio::spawn(async move { cache.clear().await });
        sleep(MOMENT).await;
        a.job(&Script::new()).await.unwrap();
        gate.open();
        clear.await.unwrap().unwrap();
        assert_eq!(a.kept().await, None);
    }
}

mod values {
    use super::*;

    /// What the function's own type and version are marked with.
    async fn fingerprint(server: &Server, node: &Node) -> u64 {
        node.job(&Script::new()).await.unwrap();
        server.value(KEY).unwrap().fingerprint
    }

    // Trace 6.
    #[tokio::test(start_paused = true)]
    async fn bytes_that_cannot_be_decoded_are_replaced() {
        let (server, a, b) = pair();
        let fingerprint = fingerprint(&server, &a).await;
        server.set(KEY, State::Value(found("{", fingerprint), None));
        server.forget();
        assert_eq!(b.job(&Script::new()).await, Ok(1));
        assert_eq!(server.log(), ["b GET", "b LEASE rejected", "b FILL"]);
        assert_eq!(server.value(KEY).unwrap().payload, b"1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_of_another_type_is_replaced() {
        let (server, a, b) = pair();
        let fingerprint = fingerprint(&server, &a).await;
        server.set(KEY, State::Value(found("5", fingerprint ^ 1), None));
        server.forget();
        assert_eq!(b.job(&Script::new()).await, Ok(1));
        assert_eq!(server.log(), ["b GET", "b LEASE rejected", "b FILL"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peek_of_what_cannot_be_read_finds_nothing() {
        let (server, a, b) = pair();
        let fingerprint = fingerprint(&server, &a).await;
        server.set(KEY, State::Value(found("{", fingerprint), None));
        assert_eq!(b.peek().await, None);
    }

    mod old {
        #[larder::cached(ttl = 60, key = "total:{cart}")]
        pub(super) async fn total(cart: u32) -> u32 {
            cart
        }
    }

    mod new {
        #[larder::cached(ttl = 60, key = "total:{cart}", version = 2)]
        pub(super) async fn total(cart: u32) -> u32 {
            cart * 2
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_of_another_version_is_replaced() {
        let (server, a, b) = pair();
        a.cache.scope(async { old::total(1).await }).await;
        assert_eq!(b.cache.scope(async { new::total(1).await }).await, 2);
        assert_eq!(server.value("test:total:1").unwrap().payload, b"2");
    }

    // Trace 21.
    #[tokio::test(start_paused = true)]
    async fn an_invalidation_reaches_every_version() {
        let (server, a, b) = pair();
        a.cache.scope(async { old::total(1).await }).await;
        b.cache.scope(async { new::total(1).invalidate().await }).await.unwrap();
        assert_eq!(server.state("test:total:1"), State::Absent);
    }

    #[cached(ttl = 60, key = "user:{id}")]
    async fn user_name(id: u64) -> String {
        id.to_string()
    }

    #[cached(ttl = 60, key = "user:{id}")]
    async fn user_age(id: u64) -> u64 {
        id + 30
    }

    #[tokio::test(start_paused = true)]
    async fn functions_of_one_template_and_two_types_do_not_read_each_other() {
        let (_server, a) = alone();
        let both = async {
            assert_eq!(user_name(1).await, "1");
            assert_eq!(user_age(1).await, 31);
            assert_eq!(user_name(1).await, "1");
        };
        a.cache.scope(both).await;
    }

    #[tokio::test(start_paused = true)]
    async fn functions_of_one_template_and_two_types_share_invalidations() {
        let (server, a) = alone();
        let both = async {
            user_name(1).await;
            user_age(1).await;
            user_age(1).invalidate().await.unwrap();
            assert_eq!(user_name(1).peek().await, None);
        };
        a.cache.scope(both).await;
        assert_eq!(server.state("test:user:1"), State::Absent);
    }

    #[cached(ttl = 60, none_ttl = 5, key = "nick:{id}", skip(script))]
    async fn find_nick(id: u64, script: Arc<Script>) -> Option<u32> {
        script.play().await.unwrap();
        None
    }

    #[cached(ttl = 60, key = "nick:{id}", skip(script))]
    async fn nick(id: u64, script: Arc<Script>) -> u32 {
        script.play().await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_none_travels() {
        let (server, a, b) = pair();
        let script = Script::new();
        assert_eq!(a.cache.scope(async { find_nick(1, Arc::clone(&script)).await }).await, None);
        let found = server.value("test:nick:1").unwrap();
        assert!(found.negative && found.payload.is_empty());
        assert_eq!(found.life, Duration::from_secs(5));
        assert_eq!(b.cache.scope(async { find_nick(1, Arc::clone(&script)).await }).await, None);
        assert_eq!(script.runs(), 1);
        let peek = async { find_nick(1, Arc::clone(&script)).peek().await };
        assert_eq!(b.cache.scope(peek).await, Some(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_none_is_no_value_to_a_function_without_one() {
        let (server, a, b) = pair();
        a.cache.scope(async { find_nick(1, Script::new()).await }).await;
        server.forget();
        assert_eq!(b.cache.scope(async { nick(1, Script::new()).await }).await, 1);
        assert_eq!(server.log(), ["b GET", "b LEASE rejected", "b FILL"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_key_is_run_and_stored_nowhere() {
        let (server, a) = alone();
        server.set(KEY, State::held());
        let script = Script::new();
        let calls = [a.started(&script).await, a.started(&script).await];
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(server.log(), ["a GET", "a LEASE"]);
        assert_eq!(a.kept().await, None);
        assert_eq!(server.state(KEY), State::held());
    }

    #[cached(ttl = 60, remote = false, key = "near:{id}")]
    async fn near(id: u64) -> u64 {
        id
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_stays_in_memory_asks_nothing() {
        let (server, a) = alone();
        let calls = async {
            near(1).await;
            assert_eq!(near(1).peek().await, Some(1));
            assert_eq!(near(2).peek().await, None);
            near(1).refresh().await;
        };
        a.cache.scope(calls).await;
        assert_eq!(server.log(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_invalidation_of_a_value_that_stays_in_memory_travels() {
        let (server, a) = alone();
        let calls = async {
            near(1).await;
            near(1).invalidate().await.unwrap();
            assert_eq!(near(1).peek().await, None);
        };
        a.cache.scope(calls).await;
        assert_eq!(server.log(), ["a INVALIDATE"]);
    }
}

mod refreshes {
    use super::*;

    fn refresh(node: &Node, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        node.spawn(async move { job(script, 1).refresh().await })
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_leases_without_reading() {
        let (server, a) = alone();
        let script = Script::new();
        a.job(&script).await.unwrap();
        server.forget();
        assert_eq!(refresh(&a, &script).await.unwrap(), Ok(2));
        assert_eq!(server.log(), ["a LEASE refresh", "a FILL"]);
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_value_is_served_elsewhere_meanwhile() {
        let (_server, a, b) = pair();
        let script = Script::new();
        a.job(&script).await.unwrap();
        let refresh = refresh(&a, &script);
        sleep(MOMENT).await;
        assert_eq!(b.job(&script).await, Ok(1));
        assert_eq!(refresh.await.unwrap(), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_leaves_the_old_value() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        server.forget();
        assert_eq!(refresh(&a, &Script::failing(1)).await.unwrap(), Err(Failed(1)));
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a LEASE refresh", "a RELEASE"]);
        assert!(matches!(server.state(KEY), State::Value(_, None)));
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_takes_the_lease_over_and_the_older_run_stores_nothing() {
        let (server, a, b) = pair();
        let script = Script::new();
        let older = a.started(&script).await;
        let newer = refresh(&b, &script);
        assert_eq!(older.await.unwrap(), Ok(1));
        assert_eq!(newer.await.unwrap(), Ok(2));
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
        assert_eq!((a.kept().await, b.kept().await), (None, Some(Ok(2))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_here_makes_the_older_run_store_nothing() {
        let (server, a) = alone();
        let script = Script::new();
        let older = a.started(&script).await;
        let newer = refresh(&a, &script);
        assert_eq!(older.await.unwrap(), Ok(1));
        assert_eq!(newer.await.unwrap(), Ok(2));
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
        assert_eq!(a.kept().await, Some(Ok(2)));
    }
}

mod slots {
    use super::*;

    // Trace 20: in a slot that unrelated keys share, an invalidation of one costs the other an entry
    // in memory, and no second run.
    #[tokio::test(start_paused = true)]
    async fn an_invalidation_of_another_key_in_the_slot_costs_no_second_run() {
        let clock = ManualClock::new();
        let cache = Cache::builder("test").clock(clock).build().unwrap();
        let script = Script::new();
        let start = |script: &Arc<Script>| {
            let script = Arc::clone(script);
            tokio::spawn(cache.scope(async move { job(script, 1).await }))
        };
        let leader = start(&script);
        sleep(MOMENT).await;
        // They leave out one slot in 450: of 65,536, each is met by six of them.
        for other in 0..400_000 {
            cache.invalidate(&format!("other:{other}")).await.unwrap();
        }
        let follower = start(&script);
        assert_eq!(leader.await.unwrap(), Ok(1));
        assert_eq!(follower.await.unwrap(), Ok(1));
        assert_eq!(script.runs(), 1);
    }
}

mod trouble {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_cannot_be_reached_costs_no_value() {
        let (server, a) = alone();
        a.remote.cut_off();
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_cannot_be_reached_costs_no_peek_and_no_refresh() {
        let (_server, a) = alone();
        a.remote.cut_off();
        assert_eq!(a.peek().await, None);
        let script = Script::new();
        assert_eq!(a.cache.scope(async { job(script, 1).refresh().await }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_cannot_be_asked_for_costs_no_value() {
        let (_server, a) = alone();
        a.remote.fail(Verb::Lease);
        assert_eq!(a.job(&Script::new()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_nobody_ends_is_over_after_the_lease() {
        let (server, a) = alone();
        server.set(KEY, State::Lease(Token(1)));
        a.remote.hang(Verb::Changed);
        let began = Instant::now();
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert!(began.elapsed() <= LEASE + POLL + RUN + MOMENT);
        // It looks, gives whoever has the next lease a moment, and runs without one: what is not
        // stored for the fleet.
        let look = ["a GET", "a LEASE", "a WAIT"];
        assert_eq!(server.log(), [&look[..], &look, &look[..2]].concat());
        assert_eq!(server.state(KEY), State::Lease(Token(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_ended_with_the_wait_for_it_is_taken() {
        let (server, a) = alone();
        server.set(KEY, State::Lease(Token(1)));
        a.remote.hang(Verb::Changed);
        let script = Script::new();
        let calls = [a.started(&script).await, a.started(&script).await, a.started(&script).await];
        sleep(LEASE.checked_sub(5 * MOMENT).unwrap()).await;
        server.set(KEY, State::Absent);
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(script.runs(), 1);
        assert_eq!(server.value(KEY).unwrap().payload, b"1");
    }

    // Trace 10.
    #[tokio::test(start_paused = true)]
    async fn those_whose_wait_for_another_process_ended_share_one_run() {
        let (server, a) = alone();
        server.set(KEY, State::Lease(Token(1)));
        a.remote.hang(Verb::Changed);
        let script = Script::new();
        let calls = [a.started(&script).await, a.started(&script).await, a.started(&script).await];
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_cannot_be_is_none() {
        let (server, a) = alone();
        server.set(KEY, State::Lease(Token(1)));
        a.remote.fail(Verb::Changed);
        let began = Instant::now();
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert!(began.elapsed() <= RUN + MOMENT);
        assert_eq!(server.log(), ["a GET", "a LEASE", "a WAIT"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_woken_again_and_again_is_over_after_the_lease() {
        let (server, a) = alone();
        server.set(KEY, State::Lease(Token(1)));
        let waking = tokio::spawn({
            let server = Arc::clone(&server);
            async move {
                loop {
                    sleep(RUN).await;
                    server.set(KEY, State::Lease(Token(1)));
                }
            }
        });
        let began = Instant::now();
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert!(began.elapsed() <= LEASE + POLL + RUN + MOMENT);
        waking.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_here_for_a_stuck_run_wait_one_lease() {
        let (_server, a) = alone();
        let script = Script::stuck(1);
        let stuck = a.started(&script).await;
        let began = Instant::now();
        let calls = [a.started(&script).await, a.started(&script).await];
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(2));
        }
        assert!(began.elapsed() <= LEASE + RUN + 5 * MOMENT);
        stuck.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_here_for_a_stuck_run_elsewhere_wait_one_lease() {
        let (_server, a, b) = pair();
        let script = Script::stuck(1);
        let stuck = a.started(&script).await;
        let began = Instant::now();
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push(b.started(&script).await);
        }
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert!(began.elapsed() <= LEASE + POLL + RUN + 5 * MOMENT);
        stuck.abort();
    }
}

mod trust {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ALMOST: Duration = Duration::from_millis(999);

    fn trusting(server: &Arc<Server>, name: &'static str) -> Node {
        Node::with(server, name, |cache| cache.max_staleness(SECOND))
    }

    /// Keeps nothing in memory: each read goes to the server.
    #[cached(ttl = 60, key = "job:{id}", skip(script), local = false)]
    async fn exact(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
        script.play().await
    }

    async fn started_exact(node: &Node, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        let call = node.spawn(async move { exact(script, 1).await });
        sleep(MOMENT).await;
        call
    }

    /// Nobody vouches for what this process hears.
    fn unproven(server: &Arc<Server>, name: &'static str) -> Node {
        let node = trusting(server, name);
        node.remote.notice_break();
        node
    }

    #[tokio::test(start_paused = true)]
    async fn memory_serves_an_entry_for_its_whole_life_while_the_link_is_proven() {
        let server = Server::new();
        let a = trusting(&server, "a");
        a.job(&Script::new()).await.unwrap();
        a.clock.advance(59 * SECOND);
        assert_eq!(a.kept().await, Some(Ok(1)));
        a.clock.advance(SECOND);
        assert_eq!(a.kept().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_good_for_max_staleness_from_the_moment_that_it_was_asked_for() {
        let server = Server::new();
        let a = unproven(&server, "a");
        a.job(&Script::new()).await.unwrap();
        a.remote.prove();
        a.clock.advance(ALMOST);
        assert_eq!(a.kept().await, Some(Ok(1)));
        a.clock.advance(MOMENT);
        assert_eq!(a.kept().await, None);
        // The entry is as good as it was, once somebody vouches for it again.
        a.remote.prove();
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_serves_what_was_loaded_a_moment_ago_though_nobody_vouches_for_it() {
        let server = Server::new();
        let a = unproven(&server, "a");
        a.job(&Script::new()).await.unwrap();
        a.clock.advance(ALMOST);
        assert_eq!(a.kept().await, Some(Ok(1)));
        a.clock.advance(MOMENT);
        assert_eq!(a.kept().await, None);
        server.forget();
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert_eq!(server.log(), ["a GET"]);
    }

    #[tokio::test(start_paused = true)]
    async fn availability_first_serves_longer_and_correctness_first_not_at_all() {
        for (age, kept) in [(10 * SECOND, Some(Ok(1))), (Duration::ZERO, None)] {
            let server = Server::new();
            let a = Node::with(&server, "a", |cache| cache.max_staleness(SECOND).unproven(age));
            a.remote.notice_break();
            a.job(&Script::new()).await.unwrap();
            a.clock.advance(age.saturating_sub(MOMENT));
            assert_eq!(a.kept().await, kept);
            a.clock.advance(MOMENT);
            assert_eq!(a.kept().await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_redis_knows_nothing_of_is_kept_no_longer_than_unproven() {
        let server = Server::new();
        let a = trusting(&server, "a");
        // A writer may hold the key, and may die without a word.
        a.remote.fail(Verb::Lease);
        a.job(&Script::new()).await.unwrap();
        a.clock.advance(ALMOST);
        assert_eq!(a.kept().await, Some(Ok(1)));
        a.clock.advance(MOMENT);
        assert_eq!(a.kept().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_stays_in_memory_is_trusted_no_longer() {
        #[cached(ttl = 60, key = "here:{id}", remote = false)]
        async fn here(id: u64) -> u64 {
            id
        }
        let server = Server::new();
        let a = unproven(&server, "a");
        a.cache.scope(async { here(1).await }).await;
        assert_eq!(a.remote.attended(), 1, "somebody has to subscribe");
        a.clock.advance(SECOND);
        assert_eq!(a.cache.scope(async { here(1).peek().await }).await, None);
        a.remote.subscribe();
        a.cache.scope(async { here(1).await }).await;
        a.clock.advance(59 * SECOND);
        assert_eq!(a.cache.scope(async { here(1).peek().await }).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_fleet_an_entry_lives_its_whole_life() {
        let clock = ManualClock::new();
        let cache = Cache::builder("test").clock(clock.clone()).build().unwrap();
        cache.scope(async { job(Script::new(), 1).await }).await.unwrap();
        clock.advance(59 * SECOND);
        assert_eq!(cache.scope(async { job(Script::new(), 1).peek().await }).await, Some(Ok(1)));
    }

    // Trace 3: `b` joins a run that read before an invalidation elsewhere, and comes after it.
    #[tokio::test(start_paused = true)]
    async fn a_follower_that_came_after_an_invalidation_elsewhere_does_not_share_the_older_run() {
        let (server, a, b) = pair();
        let script = Script::new();
        let leader = started_exact(&b, &script).await;
        a.invalidate().await.unwrap();
        let follower = started_exact(&b, &script).await;
        assert_eq!(leader.await.unwrap(), Ok(1));
        assert_eq!(follower.await.unwrap(), Ok(2));
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_came_after_a_read_was_sent_does_not_share_it() {
        let (_server, a, b) = pair();
        let script = Script::new();
        assert_eq!(a.job(&script).await, Ok(1));
        let gate = b.remote.hold(Verb::Get, At::Answered);
        let leader = started_exact(&b, &script).await;
        a.invalidate().await.unwrap();
        let follower = started_exact(&b, &script).await;
        gate.open();
        assert_eq!(leader.await.unwrap(), Ok(1));
        assert_eq!(follower.await.unwrap(), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn readers_of_one_key_do_not_queue_for_the_reads_of_each_other() {
        let (_server, a, _) = pair();
        let script = Script::new();
        a.cache.scope(async { exact(Arc::clone(&script), 1).await }).await.unwrap();
        a.remote.delay(Verb::Get, RUN);
        let began = Instant::now();
        let mut calls = Vec::new();
        for at in 0..64 {
            let script = Arc::clone(&script);
            calls.push(a.spawn(async move {
                sleep(at * RUN / 64).await;
                exact(script, 1).await
            }));
        }
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        // The last one came within one read, and took one.
        assert!(began.elapsed() <= 2 * RUN + MOMENT);
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_came_before_the_run_shares_it_even_if_it_is_refused() {
        let (_server, a, b) = pair();
        let script = Script::new();
        let gate = b.remote.hold(Verb::Lease, At::Answered);
        let leader = started_exact(&b, &script).await;
        let follower = started_exact(&b, &script).await;
        gate.open();
        sleep(MOMENT).await;
        a.invalidate().await.unwrap();
        assert_eq!(leader.await.unwrap(), Ok(1));
        assert_eq!(follower.await.unwrap(), Ok(1));
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_came_during_the_run_shares_what_the_release_confirmed() {
        let (server, a) = alone();
        let script = Script::new();
        let calls = [started_exact(&a, &script).await, started_exact(&a, &script).await];
        // It did not land, so nothing has changed until the lease is given back.
        a.remote.fail(Verb::Invalidate);
        a.invalidate().await.unwrap_err();
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(script.runs(), 1);
        assert_eq!(server.value(KEY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_came_during_the_run_shares_what_the_fill_confirmed() {
        let (_server, a, _) = pair();
        let script = Script::new();
        let calls = [started_exact(&a, &script).await, started_exact(&a, &script).await];
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(script.runs(), 1);
    }

    // Trace 4: the link is gone, and a long run is joined by those who come after an invalidation.
    #[tokio::test(start_paused = true)]
    async fn a_follower_shares_a_run_that_is_as_young_as_what_memory_would_serve() {
        for (age, second) in [(ALMOST, Ok(1)), (SECOND, Ok(2))] {
            let server = Server::new();
            let (a, b) = (trusting(&server, "a"), unproven(&server, "b"));
            let script = Script::new();
            let leader = b.started(&script).await;
            a.invalidate().await.unwrap();
            b.clock.advance(age);
            let follower = b.started(&script).await;
            // Only when it came counts, and not how long it has waited.
            b.clock.advance(SECOND);
            assert_eq!(leader.await.unwrap(), Ok(1));
            assert_eq!(follower.await.unwrap(), second);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_stamp_counts_as_long_as_memory_would_be_trusted() {
        #[cached(ttl = 60, key = "tagged:{id}", tags("all"), skip(script))]
        async fn tagged(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }

        let server = Server::new();
        let (a, b) = (trusting(&server, "a"), unproven(&server, "b"));
        let script = Script::new();
        let read = async |node: &Node, id| {
            let call = async { tagged(Arc::clone(&script), id).await };
            server.forget();
            node.cache.scope(call).await.unwrap();
            server.log()
        };
        for id in 1..=7 {
            read(&a, id).await;
        }
        assert_eq!(read(&b, 1).await, ["b GET", "b MGET"]);
        b.clock.advance(ALMOST);
        assert_eq!(read(&b, 2).await, ["b GET"]);
        b.clock.advance(MOMENT);
        assert_eq!(read(&b, 3).await, ["b GET", "b MGET"]);
        // It is as good as it was when somebody vouches for it.
        b.clock.advance(5 * SECOND);
        b.remote.prove();
        assert_eq!(read(&b, 4).await, ["b GET"]);
        // What others have said meanwhile was perhaps not heard.
        b.remote.notice_break();
        b.remote.prove();
        assert_eq!(read(&b, 5).await, ["b GET", "b MGET"]);
        assert_eq!(read(&b, 6).await, ["b GET"]);
        b.remote.subscribe();
        assert_eq!(read(&b, 7).await, ["b GET", "b MGET"]);
        assert_eq!(script.runs(), 7);
    }

    // Who reads by a stamp that it knows may find what was outdated max_staleness ago, and no more.
    #[tokio::test(start_paused = true)]
    async fn a_follower_shares_no_read_by_a_known_stamp_that_would_not_count_any_more() {
        #[cached(ttl = 60, key = "tagged:{id}", tags("all"), skip(script))]
        async fn tagged(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }

        // When the follower comes, after the bump; the read began after most of a second.
        let most = Duration::from_millis(900);
        for (age, second) in [(ALMOST, 1), (SECOND, 3), (2 * ALMOST, 3)] {
            let server = Server::new();
            let patient = |name| {
                let hour = Duration::from_secs(3_600);
                Node::with(&server, name, |cache| cache.max_staleness(SECOND).redis_budget(hour))
            };
            let (a, b) = (patient("a"), patient("b"));
            b.remote.notice_break();
            let passes = async |time| {
                b.clock.advance(time);
                sleep(time).await;
            };
            let script = Script::new();
            let call = |node: &Node, id| {
                let script = Arc::clone(&script);
                node.spawn(async move { tagged(script, id).await })
            };
            // One is in the server alone, and by the other one b knows the stamp.
            call(&a, 1).await.unwrap().unwrap();
            call(&b, 2).await.unwrap().unwrap();
            a.cache.invalidate_tag("all").await.unwrap();
            passes(most).await;
            let gate = b.remote.hold(Verb::Get, At::Answered);
            let leader = call(&b, 1);
            sleep(MOMENT).await;
            passes(age.saturating_sub(most)).await;
            let follower = call(&b, 1);
            sleep(MOMENT).await;
            gate.open();
            assert_eq!(leader.await.unwrap(), Ok(1));
            assert_eq!(follower.await.unwrap(), Ok(second), "{age:?}");
        }
    }

    // A fill says that the key was current, and nothing of its tags.
    #[tokio::test(start_paused = true)]
    async fn a_follower_shares_no_older_run_whose_tag_may_have_been_bumped_though_it_was_stored() {
        #[cached(ttl = 60, key = "tagged:{id}", tags("all"), skip(script))]
        async fn tagged(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }

        #[cached(ttl = 60, key = "strict:{id}", tags("all"), tags_strict, skip(script))]
        async fn strict(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }

        // How old the run is that a call joins, and whether its tag is bumped before that.
        for (age, is_bumped, is_strict, second) in [
            (ALMOST, true, false, 1),
            (SECOND, true, false, 2),
            // Nobody knows that it is not, and who looks finds what was stored.
            (SECOND, false, false, 1),
            (SECOND, true, true, 2),
            (SECOND, false, true, 1),
        ] {
            let server = Server::new();
            let (a, b) = (trusting(&server, "a"), unproven(&server, "b"));
            let script = Script::new();
            let call = || {
                let script = Arc::clone(&script);
                b.spawn(async move {
                    if is_strict { strict(script, 1).await } else { tagged(script, 1).await }
                })
            };
            let leader = call();
            sleep(MOMENT).await;
            if is_bumped {
                a.cache.invalidate_tag("all").await.unwrap();
            }
            b.clock.advance(age);
            let follower = call();
            sleep(MOMENT).await;
            assert_eq!(leader.await.unwrap(), Ok(1));
            let expected = Ok(second);
            assert_eq!(follower.await.unwrap(), expected, "{age:?} {is_bumped} {is_strict}");
        }
    }

    // Of a process that hears what others change, all who come share the run.
    #[tokio::test(start_paused = true)]
    async fn a_follower_shares_a_run_with_tags_of_a_process_that_hears() {
        #[cached(ttl = 60, key = "tagged:{id}", tags("all"), skip(script))]
        async fn tagged(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }

        #[cached(ttl = 60, key = "far:{id}", tags("all"), local = false, skip(script))]
        async fn far(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }

        for is_local in [true, false] {
            let server = Server::new();
            let b = trusting(&server, "b");
            let script = Script::new();
            let call = || {
                let script = Arc::clone(&script);
                b.spawn(async move {
                    if is_local { tagged(script, 1).await } else { far(script, 1).await }
                })
            };
            let leader = call();
            sleep(MOMENT).await;
            b.clock.advance(10 * SECOND);
            let follower = call();
            sleep(MOMENT).await;
            assert_eq!(leader.await.unwrap(), Ok(1));
            assert_eq!(follower.await.unwrap(), Ok(1));
            assert_eq!(script.runs(), 1);
        }
    }

    // Trace 4, of a function that asks nobody.
    #[tokio::test(start_paused = true)]
    async fn a_follower_shares_no_older_run_of_a_value_that_stays_in_memory() {
        #[cached(ttl = 60, key = "here:{id}", remote = false, skip(script))]
        async fn here(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }

        async fn started(node: &Node, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
            let script = Arc::clone(script);
            let call = node.spawn(async move { here(script, 1).await });
            sleep(MOMENT).await;
            call
        }

        for (age, second) in [(ALMOST, Ok(1)), (SECOND, Ok(2))] {
            let server = Server::new();
            let b = unproven(&server, "b");
            let script = Script::new();
            let leader = started(&b, &script).await;
            b.clock.advance(age);
            let follower = started(&b, &script).await;
            assert_eq!(leader.await.unwrap(), Ok(1));
            assert_eq!(follower.await.unwrap(), second);
        }
    }
}

mod budgets {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(100);

    fn patient(server: &Arc<Server>, name: &'static str) -> Node {
        Node::with(server, name, |cache| cache.redis_budget(BUDGET))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_spends_one_budget_on_a_tier_that_hangs() {
        let server = Server::new();
        let a = patient(&server, "a");
        a.remote.hang(Verb::Get);
        let began = Instant::now();
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert_eq!(server.log(), ["a GET"]);
        assert!(began.elapsed() <= BUDGET + RUN + MOMENT);
    }

    #[tokio::test(start_paused = true)]
    async fn all_commands_of_a_call_have_one_budget() {
        let server = Server::new();
        let a = patient(&server, "a");
        let (get, lease) =
            (a.remote.hold(Verb::Get, At::Sent), a.remote.hold(Verb::Lease, At::Sent));
        a.remote.hang(Verb::Fill);
        let began = Instant::now();
        let script = Script::new();
        let call = a.started(&script).await;
        sleep(BUDGET / 3).await;
        get.open();
        sleep(BUDGET / 3).await;
        lease.open();
        assert_eq!(call.await.unwrap(), Ok(1));
        assert_eq!(server.log()[..3], ["a GET", "a LEASE", "a FILL"]);
        assert!(began.elapsed() <= BUDGET + RUN + 5 * MOMENT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_looks_of_a_wait_spend_no_budget() {
        let server = Server::new();
        let (a, b) = (patient(&server, "a"), patient(&server, "b"));
        // Of each look a fifth of a budget, and of the wait many.
        for verb in [Verb::Get, Verb::Lease] {
            b.remote.delay(verb, BUDGET / 10);
        }
        b.remote.poll(BUDGET / 2);
        let script = Script::stuck(1);
        let first = a.started(&script).await;
        let second = b.started(&script).await;
        sleep(50 * BUDGET).await;
        assert_eq!(script.runs(), 1);
        first.abort();
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
    }

    #[tokio::test(start_paused = true)]
    async fn to_wait_for_another_run_spends_no_budget() {
        let server = Server::new();
        let (a, b) = (patient(&server, "a"), patient(&server, "b"));
        let script = Script::stuck(1);
        let first = a.started(&script).await;
        let second = b.started(&script).await;
        sleep(5 * BUDGET).await;
        assert_eq!(script.runs(), 1);
        first.abort();
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(server.value(KEY).unwrap().payload, b"2");
    }
}

mod waiting {
    use super::*;

    /// A function whose error nobody shares, run by one process while another waits for it.
    // Trace 12.
    #[tokio::test(start_paused = true)]
    async fn who_was_woken_by_a_run_that_failed_waits_for_no_other() {
        let server = Server::new();
        let nodes = ["a", "b", "c"].map(|name| Node::new(&server, name));
        let script = Script::failing(3);
        let calls = [
            nodes[0].started(&script).await,
            nodes[1].started(&script).await,
            nodes[2].started(&script).await,
        ];
        let began = Instant::now();
        for call in calls {
            call.await.unwrap().unwrap_err();
        }
        // The two that were woken ran side by side.
        assert_eq!(script.runs(), 3);
        assert!(began.elapsed() <= 2 * RUN + 5 * MOMENT);
    }
}

mod renewals {
    use super::*;

    // Trace 10.
    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_while_the_function_runs() {
        let (server, a) = alone();
        let script = Script::stuck(1);
        let call = a.started(&script).await;
        sleep(3 * LEASE).await;
        let renewals = server.log().iter().filter(|entry| *entry == "a RENEW").count();
        // At a third of it, or a sixth later.
        assert!((6..=9).contains(&renewals), "{renewals}");
        call.abort();
        sleep(MOMENT).await;
        server.forget();
        sleep(3 * LEASE).await;
        assert_eq!(server.log(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_not_renewed_for_longer_than_max_run() {
        let server = Server::new();
        let a = Node::with(&server, "a", |cache| cache.max_run(2 * LEASE));
        let call = a.started(&Script::stuck(1)).await;
        sleep(2 * LEASE + MOMENT).await;
        server.forget();
        sleep(10 * LEASE).await;
        assert_eq!(server.log(), [""; 0]);
        call.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_took_over_is_renewed_too() {
        let (server, a) = alone();
        let script = Script::stuck(2);
        let leader = a.started(&script).await;
        let follower = a.started(&script).await;
        leader.abort();
        sleep(LEASE).await;
        assert_eq!(script.runs(), 2);
        assert!(server.log().iter().any(|entry| entry == "a RENEW"));
        follower.abort();
    }
}

mod repairs {
    use super::*;

    /// Longer than the pauses between attempts.
    const LATER: Duration = Duration::from_secs(2);

    // Trace 13.
    #[tokio::test(start_paused = true)]
    async fn an_invalidation_that_failed_lands_by_itself() {
        let (server, a, b) = pair();
        a.job(&Script::new()).await.unwrap();
        a.remote.fail(Verb::Invalidate);
        a.invalidate().await.unwrap_err();
        assert!(server.value(KEY).is_some());
        sleep(100 * LATER).await;
        a.remote.answer(Verb::Invalidate);
        sleep(LATER).await;
        assert_eq!(server.state(KEY), State::Absent);
        // The key is trusted again.
        let script = Script::new();
        assert_eq!(b.job(&script).await, Ok(1));
        assert_eq!(a.job(&script).await, Ok(1));
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_that_was_dropped_lands_by_itself() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        let _gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let invalidation = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        invalidation.abort();
        a.remote.answer(Verb::Invalidate);
        sleep(LATER).await;
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_keys_each_lands_as_soon_as_it_can() {
        let (server, a) = alone();
        for id in 1..=3 {
            a.cache.scope(job(Script::new(), id)).await.unwrap();
        }
        a.remote.fail(Verb::Invalidate);
        for id in 1..=3 {
            a.cache.invalidate(&format!("job:{id}")).await.unwrap_err();
        }
        a.remote.answer(Verb::Invalidate);
        sleep(LATER).await;
        for id in 1..=3 {
            assert_eq!(server.state(&format!("test:job:{id}")), State::Absent);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_that_failed_lands_by_itself_and_nothing_is_read_before() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        a.remote.fail(Verb::Clear);
        a.cache.clear().await.unwrap_err();
        server.forget();
        let script = Script::new();
        assert_eq!(a.job(&script).await, Ok(1));
        assert!(!server.log().iter().any(|entry| entry == "a GET"));
        a.remote.answer(Verb::Clear);
        sleep(LATER).await;
        assert_eq!(server.state(KEY), State::Absent);
        server.forget();
        a.cache.invalidate("job:1").await.unwrap();
        a.job(&script).await.unwrap();
        assert!(server.log().iter().any(|entry| entry == "a GET"));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_failures_become_one_clear() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        a.remote.fail(Verb::Invalidate);
        for id in 0..=10_000 {
            a.cache.invalidate(&format!("other:{id}")).await.unwrap_err();
        }
        a.remote.answer(Verb::Invalidate);
        sleep(LATER).await;
        assert!(server.log().iter().any(|entry| entry == "a CLEAR"));
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn holds_that_failed_while_the_tier_was_away_are_ended_a_few_at_a_time() {
        let (server, a) = alone();
        a.remote.cut_off();
        for _ in 0..1_000 {
            let put = async { job(Script::new(), 1).put(7).await };
            a.cache.scope(put).await.unwrap_err();
        }
        for verb in [Verb::Hold, Verb::Invalidate, Verb::Settle] {
            a.remote.answer(verb);
        }
        server.forget();
        a.cache.shutdown().await.unwrap();
        // The others end by themselves.
        let settled = server.log().iter().filter(|entry| *entry == "a SETTLE").count();
        assert!(settled <= 8, "{settled}");
        assert_eq!(server.log().len(), settled + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_settlement_that_fails_keeps_no_key_pending_that_was_invalidated() {
        let (server, a) = alone();
        a.remote.fail(Verb::Hold);
        a.remote.fail(Verb::Settle);
        let put = async { job(Script::new(), 1).put(7).await };
        a.cache.scope(put).await.unwrap_err();
        a.cache.shutdown().await.unwrap();
        a.job(&Script::new()).await.unwrap();
        assert!(server.value(KEY).is_some());
    }

    #[test]
    fn what_was_dropped_where_there_is_no_runtime_lands_when_the_key_is_read() {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().start_paused(true).build().unwrap()
        };
        let (server, a) = alone();
        let invalidation = runtime().block_on(async {
            a.job(&Script::new()).await.unwrap();
            a.cache.invalidation().key("job:1").await.unwrap()
        });
        drop(invalidation);
        assert_eq!(a.cache.stats().redis.pending_repairs, 1);
        runtime().block_on(async {
            a.job(&Script::new()).await.unwrap();
            sleep(MOMENT).await;
        });
        assert_eq!(a.cache.stats().redis.pending_repairs, 0);
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_repairs() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        a.remote.fail(Verb::Invalidate);
        a.invalidate().await.unwrap_err();
        let cache = a.cache.clone();
        let shutdown = tokio::spawn(async move { cache.shutdown().await });
        sleep(LATER).await;
        assert!(!shutdown.is_finished());
        a.remote.answer(Verb::Invalidate);
        shutdown.await.unwrap().unwrap();
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_invalidation_of_the_key_ends_the_repair() {
        let (server, a) = alone();
        a.remote.fail(Verb::Invalidate);
        a.invalidate().await.unwrap_err();
        a.remote.answer(Verb::Invalidate);
        a.invalidate().await.unwrap();
        a.job(&Script::new()).await.unwrap();
        sleep(LATER).await;
        // What was stored since is not invalidated once more for nothing: once at most.
        server.forget();
        sleep(10 * LATER).await;
        assert_eq!(server.log(), [""; 0]);
    }
}

/// A tag in the middle of its change is as a key in the middle of its own.
mod tags {
    use super::*;

    const TAG: &str = ":larder:test:team:7";

    #[cached(ttl = 60, key = "tagged:{id}", tags("team:7", "users"), skip(script))]
    async fn tagged(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
        script.play().await
    }

    fn started(node: &Node, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        node.spawn(async move { tagged(script, 1).await })
    }

    async fn call(node: &Node, script: &Arc<Script>) -> Result<u32, Failed> {
        started(node, script).await.unwrap()
    }

    async fn peek(node: &Node) -> Option<Result<u32, Failed>> {
        node.cache.scope(async { tagged(Script::new(), 1).peek().await }).await
    }

    fn bump(node: &Node) -> JoinHandle<Result<(), Error>> {
        let cache = node.cache.clone();
        tokio::spawn(async move { cache.invalidate_tag("team:7").await })
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_of_an_unconfirmed_tag_is_neither_read_nor_stored() {
        let (server, a) = alone();
        let script = Script::new();
        assert_eq!(call(&a, &script).await, Ok(1));
        let gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let bumping = bump(&a);
        sleep(MOMENT).await;
        server.forget();
        assert_eq!(peek(&a).await, None);
        assert_eq!(call(&a, &script).await, Ok(2));
        assert_eq!(call(&a, &script).await, Ok(3));
        assert_eq!(server.log(), [""; 0]);
        // What the server has is still from before, and so is the stamp.
        assert_eq!(server.value("test:tagged:1").unwrap().payload, b"1");
        assert!(matches!(server.state(TAG), State::Stamp(_)));
        // A run that began before it is confirmed is not joined later, and not kept.
        let unconfirmed = started(&a, &script);
        sleep(MOMENT).await;
        gate.open();
        bumping.await.unwrap().unwrap();
        assert_eq!(call(&a, &script).await, Ok(5));
        assert_eq!(unconfirmed.await.unwrap(), Ok(4));
        assert_eq!(peek(&a).await, Some(Ok(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_an_entry_of_an_unconfirmed_tag_share_a_run() {
        let (_server, a) = alone();
        let script = Script::new();
        let _gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let _bumping = bump(&a);
        sleep(MOMENT).await;
        for call in [started(&a, &script), started(&a, &script)] {
            assert_eq!(call.await.unwrap(), Ok(1));
        }
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bump_that_fails_or_is_dropped_leaves_its_entries_untrusted_until_it_is_repaired() {
        for is_dropped in [false, true] {
            let (server, a) = alone();
            let script = Script::new();
            assert_eq!(call(&a, &script).await, Ok(1));
            a.remote.fail(Verb::Invalidate);
            // The repair of what is dropped waits there, too.
            let gate = is_dropped.then(|| a.remote.hold(Verb::Invalidate, At::Sent));
            let bumping = bump(&a);
            if gate.is_some() {
                sleep(MOMENT).await;
                bumping.abort();
                assert!(bumping.await.unwrap_err().is_cancelled());
            } else {
                assert!(matches!(bumping.await.unwrap(), Err(Error::Unavailable)));
            }
            server.forget();
            for run in [2, 3] {
                assert_eq!(call(&a, &script).await, Ok(run));
                assert_eq!(peek(&a).await, None);
            }
            assert!(server.log().iter().all(|entry| entry == "a INVALIDATE"));
            a.remote.answer(Verb::Invalidate);
            if let Some(gate) = gate {
                gate.open();
            }
            a.cache.shutdown().await.unwrap();
            assert_eq!(server.state(TAG), State::Absent);
            assert_eq!(call(&a, &script).await, Ok(4));
            assert_eq!(call(&a, &script).await, Ok(4));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn entries_of_other_tags_are_not_held_up() {
        let (server, a) = alone();
        let _gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let cache = a.cache.clone();
        let _bumping = tokio::spawn(async move { cache.invalidate_tag("team:8").await });
        sleep(MOMENT).await;
        let script = Script::new();
        assert_eq!(call(&a, &script).await, Ok(1));
        assert_eq!(call(&a, &script).await, Ok(1));
        assert_eq!(server.log_of("test:tagged:1"), ["a GET", "a LEASE", "a MGET", "a FILL"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_after_a_bump_joins_no_run_from_before_it() {
        for is_elsewhere in [false, true] {
            let (_server, a, b) = pair();
            let script = Script::new();
            let before = started(&a, &script);
            sleep(MOMENT).await;
            bump(if is_elsewhere { &b } else { &a }).await.unwrap().unwrap();
            assert_eq!(call(&a, &script).await, Ok(2));
            assert_eq!(before.await.unwrap(), Ok(1));
            for node in [&a, &b] {
                assert_eq!(call(node, &script).await, Ok(2));
            }
        }
    }
}
