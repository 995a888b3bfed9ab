//! The same with a tier that a fleet shares: who refreshes, and when an old value may still be served.

use larder::{
    __private::Token,
    Source::{Function, Shared},
    invalidates,
};

use super::*;
use crate::common::{
    At, Server, State, Verb, found,
    node::{LEASE, Node},
    stale,
};

/// With bounds on time that a test does not reach, and a clock that goes with tokio's.
fn node(server: &Arc<Server>, name: &'static str) -> Node {
    let hour = Duration::from_secs(3_600);
    Node::with(server, name, |cache| {
        cache.clock(Virtual::new()).redis_budget(hour).max_staleness(hour)
    })
}

fn pair() -> (Arc<Server>, Node, Node) {
    let server = Server::new();
    let (a, b) = (node(&server, "a"), node(&server, "b"));
    (server, a, b)
}

type Output = (Result<u32, u32>, Source);

impl Node {
    async fn owned(&self, origin: &Origin) -> (Output, Duration) {
        timed(self.cache.scope(async { owned(origin.clone(), 1).with_source().await })).await
    }

    async fn safe(&self, origin: &Origin) -> (Output, Duration) {
        timed(self.cache.scope(async { safe(origin.clone(), 1).with_source().await })).await
    }

    /// On a task of its own, which has got to where it waits.
    async fn safe_under_way(&self, origin: &Origin) -> JoinHandle<(Output, Duration)> {
        let origin = origin.clone();
        self.under_way(timed(async move { safe(origin, 1).with_source().await })).await
    }

    fn under_way<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        call: F,
    ) -> impl Future<Output = JoinHandle<T>> + use<T, F> {
        let call = self.spawn(call);
        async {
            sleep(MOMENT).await;
            call
        }
    }

    async fn peek_safe(&self) -> Option<Result<u32, u32>> {
        self.cache.scope(async { safe(Origin::default(), 1).peek().await }).await
    }
}

const OWNED: &str = "test:owned:1";
const SAFE: &str = "test:safe:1";

/// The first run of the function, which is too old by now to be served but after an error; the others fail.
async fn kept_for_errors(node: &Node) -> Origin {
    let origin = Origin::new(&[Act::Answer, Act::Fail]);
    assert_eq!(node.safe(&origin).await.0, (Ok(1), Function));
    sleep(STALE).await;
    origin
}

/// The old value, at once or after so much time.
fn old(age: Duration, after: Duration) -> (Output, Duration) {
    ((Ok(1), Source::Stale { age }), after)
}

mod who_refreshes {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_in_the_fleet_and_nobody_waits() {
        let (server, a, b) = pair();
        let origin = Origin::default();
        a.owned(&origin).await.0.0.unwrap();
        sleep(STALE).await;
        server.forget();
        let at_once = old(RUN + STALE, Duration::ZERO);
        assert_eq!(a.owned(&origin).await, at_once);
        assert_eq!(b.owned(&origin).await, at_once);
        sleep(2 * RUN).await;
        assert_eq!(origin.runs(), 2);
        // Nobody tells the other process of the new value: it asks, and does not wait for that either.
        assert_eq!(b.owned(&origin).await.0.0, Ok(1));
        sleep(MOMENT).await;
        let (output, took) = b.owned(&origin).await;
        assert_eq!((output.0, took), (Ok(2), Duration::ZERO));
        let commands = ["a GET", "b GET", "a LEASE", "b LEASE", "a FILL", "b LEASE"];
        assert_eq!(server.log_of(OWNED), commands);
        assert_eq!(origin.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn others_ask_again_only_now_and_then() {
        let (server, a, b) = pair();
        let origin = Origin::default();
        a.owned(&origin).await.0.0.unwrap();
        sleep(STALE).await;
        a.owned(&origin).await.0.0.unwrap();
        server.forget();
        for _ in 0..RUN.as_millis() - 1 {
            assert_eq!(b.owned(&origin).await.0.0, Ok(1));
            sleep(MOMENT).await;
        }
        // Every 50 ms, of which the first time it reads too.
        assert_eq!(server.log_of(OWNED).iter().filter(|sent| *sent == "b LEASE").count(), 20);
        assert_eq!(server.log_of(OWNED).iter().filter(|sent| *sent == "b GET").count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_run_elsewhere_waits_no_longer_than_it_says() {
        let (_server, a, b) = pair();
        let origin = Origin::new(&[Act::Answer, Act::AnswerSlowly]);
        let patient = |node: &Node| {
            let origin = origin.clone();
            node.under_way(timed(async move { patient(origin, 1).with_source().await }))
        };
        patient(&a).await.await.unwrap().0.0.unwrap();
        sleep(STALE).await;
        let (first, second) = (patient(&a).await, patient(&b).await);
        let ((output, source), took) = first.await.unwrap();
        assert_eq!((output, took), (Ok(1), RUN / 2));
        assert!(is_stale(source), "{source:?}");
        let ((output, source), took) = second.await.unwrap();
        assert_eq!((output, took), (Ok(1), RUN / 2));
        assert!(is_stale(source), "{source:?}");
        // The wait of its process goes on, and ends with the run.
        sleep(SLOW).await;
        let ((output, source), _) = patient(&b).await.await.unwrap();
        assert_eq!(output, Ok(2));
        assert!(is_memory(source), "{source:?}");
        assert_eq!(origin.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_run_elsewhere_that_ends_in_time_gets_its_value() {
        #[cached(ttl = 60, stale = 30, max_wait = 2, key = "quick", skip(origin))]
        async fn quick(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let (_server, a, b) = pair();
        let origin = Origin::default();
        let quick = |node: &Node| {
            let origin = origin.clone();
            node.under_way(timed(async move { quick(origin).await }))
        };
        quick(&a).await.await.unwrap().0.unwrap();
        sleep(STALE).await;
        let (first, second) = (quick(&a).await, quick(&b).await);
        assert_eq!(first.await.unwrap(), (Ok(2), RUN));
        let (output, took) = second.await.unwrap();
        assert_eq!((output, took + MOMENT), (Ok(2), RUN));
        assert_eq!(origin.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_does_not_answer_keeps_nobody_from_the_old_value() {
        let (_server, a, b) = pair();
        let origin = Origin::default();
        a.owned(&origin).await.0.0.unwrap();
        let patient = |node: &Node| {
            let origin = origin.clone();
            node.under_way(timed(async move { patient(origin, 1).await }))
        };
        patient(&a).await.await.unwrap().0.unwrap();
        sleep(STALE).await;
        b.remote.hang(Verb::Lease);
        let (output, took) = b.owned(&origin).await;
        assert_eq!((output.0, took), (Ok(1), Duration::ZERO));
        assert_eq!(patient(&b).await.await.unwrap(), (Ok(2), RUN / 2));
        assert_eq!(origin.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_invalidated_during_a_wait_is_not_served_after_it() {
        for is_heard in [false, true] {
            let (_server, a, b) = pair();
            let origin = Origin::new(&[Act::Answer, Act::AnswerSlowly]);
            let patient = |node: &Node| {
                let origin = origin.clone();
                node.under_way(timed(async move { patient(origin, 1).await }))
            };
            patient(&a).await.await.unwrap().0.unwrap();
            sleep(STALE).await;
            let (elected, follower) = (patient(&b).await, patient(&b).await);
            if is_heard {
                a.cache.invalidate("patient:1").await.unwrap();
            } else {
                b.remote.notice_break();
            }
            assert_eq!(elected.await.unwrap(), (Ok(2), SLOW));
            let (output, took) = follower.await.unwrap();
            assert_eq!((output, took + MOMENT), (Ok(2), SLOW));
        }
    }

    // Trace 17.
    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_outlasts_the_value_is_stored_and_runs_once() {
        let (server, a, b) = pair();
        let origin = Origin::default();
        let of = |node: &Node| {
            let origin = origin.clone();
            node.under_way(timed(async move { owned(origin, 1).await }))
        };
        of(&a).await.await.unwrap().0.unwrap();
        // Elected just before it is of no more use, to anybody.
        sleep(89 * SECOND + RUN / 2).await;
        let elected = of(&a).await;
        assert_eq!(elected.await.unwrap(), (Ok(1), Duration::ZERO));
        sleep(RUN / 2).await;
        let State::Lease(_) = server.state(OWNED) else { panic!("{:?}", server.state(OWNED)) };
        // Nobody is served it, and nobody runs the function once more.
        let (output, took) = of(&b).await.await.unwrap();
        assert_eq!(output, Ok(2));
        assert!(took < RUN / 2, "{took:?}");
        assert_eq!(server.value(OWNED).unwrap().payload, b"2");
        assert_eq!(origin.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_process_that_died_refreshing_another_does() {
        let server = Server::new();
        let a = node(&server, "a");
        let origin = Origin::default();
        a.owned(&origin).await.0.0.unwrap();
        sleep(STALE).await;
        let value = server.value(OWNED).unwrap();
        server.set(OWNED, State::Value(value, Some(Token(7))));
        a.owned(&origin).await.0.0.unwrap();
        sleep(LEASE.checked_sub(MOMENT).unwrap()).await;
        assert_eq!(a.owned(&origin).await.0.0, Ok(1));
        sleep(MOMENT).await;
        assert_eq!(origin.runs(), 1);
        // It looks as often as others do.
        sleep(50 * MOMENT).await;
        assert_eq!(a.owned(&origin).await.0.0, Ok(1));
        sleep(2 * RUN).await;
        assert_eq!((a.owned(&origin).await.0.0, origin.runs()), (Ok(2), 2));
    }

    // Trace 18.
    #[tokio::test(start_paused = true)]
    async fn how_old_a_value_is_does_not_depend_on_the_readers_clock() {
        let server = Server::new();
        let a = node(&server, "a");
        // Nothing that it says is what any other says.
        let b = Node::new(&server, "b");
        b.clock.advance(Duration::from_secs(100_000));
        let origin = Origin::default();
        a.owned(&origin).await.0.0.unwrap();
        sleep(59 * SECOND).await;
        let (output, _) = b.owned(&origin).await;
        assert_eq!(output, (Ok(1), Source::Redis { age: 60 * SECOND }));
        assert_eq!(origin.runs(), 1);
        // It stood still meanwhile.
        sleep(6 * SECOND).await;
        b.cache.clear().await.unwrap();
        a.owned(&origin).await.0.0.unwrap();
        sleep(STALE).await;
        let (output, _) = b.owned(&origin).await;
        assert_eq!(output, (Ok(2), Source::Stale { age: RUN + STALE }));
        sleep(2 * RUN).await;
        assert_eq!(origin.runs(), 3);
    }

    // Trace 18.
    #[tokio::test(start_paused = true)]
    async fn what_the_tier_says_of_its_age_is_what_counts() {
        let server = Server::new();
        let b = Node::new(&server, "b");
        b.clock.advance(Duration::from_secs(100_000));
        let origin = Origin::default();
        let read = b.owned(&origin).await;
        assert_eq!(read.0, (Ok(1), Function));
        let written = server.value(OWNED).unwrap();
        b.cache.clear().await.unwrap();
        // Written an hour ago by the server's clock; nothing of it was seen here.
        let fingerprint = written.fingerprint;
        let hour = Duration::from_secs(3_600);
        let value = stale(found("7", fingerprint), 29 * SECOND, SECOND);
        let value = larder::__private::Found { age: hour, ..value };
        server.set(OWNED, State::Value(value, None));
        let (output, took) = b.owned(&origin).await;
        assert_eq!((output, took), ((Ok(7), Source::Stale { age: hour }), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_value_of_a_function_that_refreshes_early_is_one_that_is_stale() {
        #[cached(ttl = 60, stale = 30, refresh_early, key = "early", skip(origin))]
        async fn early(origin: &Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let (_server, a, b) = pair();
        let origin = Origin::default();
        a.cache.scope(async { early(&origin).await }).await.unwrap();
        // No longer than it may be refreshed early before.
        sleep(61 * SECOND).await;
        let elected = a.under_way({
            let origin = origin.clone();
            async move { early(&origin).await }
        });
        let elected = elected.await;
        let call = timed(b.cache.scope(async { early(&origin).with_source().await }));
        let (output, took) = call.await;
        let age = RUN + 61 * SECOND + MOMENT;
        assert_eq!((output, took), ((Ok(1), Source::Stale { age }), Duration::ZERO));
        assert_eq!(elected.await.unwrap(), Ok(2));
    }
}

mod after_an_error {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_in_the_fleet_tries_again_for_a_while() {
        let (server, a, b) = pair();
        let origin = kept_for_errors(&a).await;
        let age = RUN + STALE + RUN;
        assert_eq!(a.safe(&origin).await, old(age, RUN));
        // It has never seen it.
        assert_eq!(b.safe(&origin).await, old(age, Duration::ZERO));
        for seconds in 1..10 {
            sleep(SECOND).await;
            let age = age + seconds * SECOND;
            assert_eq!(b.safe(&origin).await, old(age, Duration::ZERO));
            assert_eq!(a.safe(&origin).await, old(age, Duration::ZERO));
        }
        assert_eq!(origin.runs(), 2);
        let State::Value(_, None) = server.state(SAFE) else { panic!("it is refreshed") };
        sleep(SECOND).await;
        assert_eq!(b.safe(&origin).await, old(age + 11 * SECOND, RUN));
        assert_eq!(origin.runs(), 3);
        // And so does the other process, by the tier alone.
        assert_eq!(a.safe(&origin).await, old(age + 11 * SECOND, Duration::ZERO));
        origin.turn(Act::Answer);
        sleep(THROTTLE).await;
        assert_eq!(a.safe(&origin).await, ((Ok(4), Function), RUN));
        let (output, took) = b.safe(&origin).await;
        assert_eq!((output.0, took), (Ok(4), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_elsewhere_gets_the_old_value_too() {
        for act in [Act::Fail, Act::Panic] {
            let (_server, a, b) = pair();
            let origin = kept_for_errors(&a).await;
            origin.turn(act);
            let (first, second) =
                (a.safe_under_way(&origin).await, b.safe_under_way(&origin).await);
            assert_eq!(first.await.unwrap().0.0, Ok(1));
            let ((output, source), took) = second.await.unwrap();
            assert_eq!((output, took + MOMENT), (Ok(1), RUN));
            assert!(is_stale(source), "{source:?}");
            assert_eq!(origin.runs(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_leader_leaves_it_to_the_other_process_without_a_pause() {
        let (_server, a, b) = pair();
        let origin = kept_for_errors(&a).await;
        let (first, second) = (a.safe_under_way(&origin).await, b.safe_under_way(&origin).await);
        first.abort();
        let ((output, source), took) = second.await.unwrap();
        assert_eq!(output, Ok(1));
        assert!(is_stale(source), "{source:?}");
        assert!(took <= RUN + MOMENT, "{took:?}");
        assert_eq!(origin.runs(), 3);
    }

    // Trace 19.
    #[tokio::test(start_paused = true)]
    async fn what_another_process_invalidated_meanwhile_is_not_served() {
        for act in [Act::Fail, Act::Panic] {
            let (server, a, b) = pair();
            let origin = kept_for_errors(&b).await;
            origin.turn(act);
            let refreshing = b.safe_under_way(&origin).await;
            a.cache.scope(async { safe(Origin::default(), 1).invalidate().await }).await.unwrap();
            assert_error(refreshing, act, 2).await;
            assert_eq!(server.state(SAFE), State::Absent);
            assert_eq!((a.peek_safe().await, b.peek_safe().await), (None, None));
        }
    }

    async fn assert_error(call: JoinHandle<(Output, Duration)>, act: Act, run: u32) {
        match call.await {
            Ok(output) => assert_eq!((output.0.0, act), (Err(run), Act::Fail)),
            Err(error) => assert!(error.is_panic() && act == Act::Panic),
        }
    }

    // Trace 19.
    #[tokio::test(start_paused = true)]
    async fn nor_if_this_process_has_not_heard_of_it() {
        let (server, a, b) = pair();
        let origin = kept_for_errors(&b).await;
        let refreshing = b.safe_under_way(&origin).await;
        b.remote.keep_messages();
        a.cache.invalidate("safe:1").await.unwrap();
        assert_error(refreshing, Act::Fail, 2).await;
        assert_eq!(server.state(SAFE), State::Absent);
    }

    // Trace 19.
    #[tokio::test(start_paused = true)]
    async fn nor_if_it_was_invalidated_while_the_pause_was_on_its_way() {
        for at in [At::Sent, At::Answered] {
            let (_server, a, b) = pair();
            let origin = kept_for_errors(&b).await;
            let gate = b.remote.hold(Verb::Release, at);
            let refreshing = b.safe_under_way(&origin).await;
            sleep(RUN).await;
            a.cache.invalidate("safe:1").await.unwrap();
            gate.open();
            assert_error(refreshing, Act::Fail, 2).await;
            assert_eq!(b.peek_safe().await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nor_if_everything_was_cleared() {
        let (_server, a, b) = pair();
        let origin = kept_for_errors(&b).await;
        let refreshing = b.safe_under_way(&origin).await;
        a.cache.clear().await.unwrap();
        assert_error(refreshing, Act::Fail, 2).await;
        assert_eq!(b.peek_safe().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn nor_if_a_writer_holds_it() {
        #[invalidates(safe(Origin::default(), 1), hold = "1m")]
        async fn change() {
            sleep(2 * RUN).await;
        }

        let (_server, a, b) = pair();
        let origin = kept_for_errors(&b).await;
        let refreshing = b.safe_under_way(&origin).await;
        let changing = a.under_way(change()).await;
        assert_error(refreshing, Act::Fail, 2).await;
        changing.await.unwrap();
        assert_eq!(b.safe(&origin).await.0, (Err(3), Function));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_link_that_is_proven_the_error_is_returned() {
        let server = Server::new();
        let a = node(&server, "a");
        let origin = kept_for_errors(&a).await;
        let b = {
            let remote = server.connect("b");
            remote.prove_nothing();
            let cache =
                Cache::builder("test").clock(Virtual::new()).remote(Arc::clone(&remote) as _);
            Node { cache: cache.build().unwrap(), remote, clock: ManualClock::new() }
        };
        assert_eq!(b.safe(&origin).await, ((Err(2), Function), RUN));
        // Its link is seen to.
        assert!(b.remote.attended() > 0);
        // It has told the fleet all the same that the function fails.
        assert_eq!(a.safe(&origin).await, old(2 * RUN + STALE, Duration::ZERO));
        b.remote.prove();
        sleep(THROTTLE).await;
        b.remote.prove();
        assert_eq!(b.safe(&origin).await.0, (Err(3), Function));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_breaks_meanwhile_is_none_that_is_proven() {
        let (_server, a, b) = pair();
        let origin = kept_for_errors(&a).await;
        let refreshing = b.safe_under_way(&origin).await;
        b.remote.notice_break();
        assert_error(refreshing, Act::Fail, 2).await;
        // Nor one that has come back: what was said meanwhile was not heard.
        sleep(THROTTLE).await;
        let refreshing = b.safe_under_way(&origin).await;
        b.remote.subscribe();
        assert_error(refreshing, Act::Fail, 3).await;
        sleep(THROTTLE).await;
        assert_eq!(b.safe(&origin).await.0.0, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_tier_the_error_is_returned() {
        let (_server, a, _) = pair();
        let origin = kept_for_errors(&a).await;
        let refreshing = a.safe_under_way(&origin).await;
        a.remote.cut_off();
        assert_error(refreshing, Act::Fail, 2).await;
        // Also by who has had it in memory.
        assert_eq!(a.safe(&origin).await.0.0, Err(3));
        for verb in [Verb::Get, Verb::Lease, Verb::Release] {
            a.remote.answer(verb);
        }
        // The lease of the first has ended by then.
        sleep(LEASE).await;
        assert_eq!(a.safe(&origin).await.0.0, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_a_tag_that_was_bumped_meanwhile_is_not_served() {
        #[cached(ttl = 60, stale_if_error = 600, key = "tagged", tags("all"), skip(origin))]
        async fn tagged(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let (_server, a, b) = pair();
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let call = |node: &Node| {
            let origin = origin.clone();
            node.under_way(async move { tagged(origin).await })
        };
        call(&b).await.await.unwrap().unwrap();
        sleep(STALE).await;
        assert_eq!(call(&b).await.await.unwrap(), Ok(1));
        for bumping in [&a, &b] {
            sleep(THROTTLE).await;
            origin.turn(Act::Answer);
            let stored = call(&b).await.await.unwrap().unwrap();
            sleep(STALE).await;
            origin.turn(Act::Fail);
            let refreshing = call(&b).await;
            // Nobody has to hear of it.
            b.remote.keep_messages();
            bumping.cache.invalidate_tag("all").await.unwrap();
            assert_eq!(refreshing.await.unwrap(), Err(stored + 1));
            b.remote.deliver();
            b.remote.subscribe();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn followers_get_the_old_value_or_the_error_as_their_leader_does() {
        for is_invalidated in [false, true] {
            let (_server, a, b) = pair();
            let origin = kept_for_errors(&a).await;
            let mut calls = Vec::new();
            for _ in 0..3 {
                calls.push(a.safe_under_way(&origin).await);
            }
            if is_invalidated {
                b.cache.invalidate("safe:1").await.unwrap();
            }
            for call in calls {
                let ((output, source), took) = call.await.unwrap();
                assert!(took <= RUN, "{took:?}");
                if is_invalidated {
                    assert_eq!(output, Err(2));
                    assert!(matches!(source, Function | Shared), "{source:?}");
                } else {
                    assert_eq!(output, Ok(1));
                    assert!(is_stale(source), "{source:?}");
                }
            }
            assert_eq!(origin.runs(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn followers_whose_errors_are_not_shared_run_for_themselves_if_it_was_invalidated() {
        #[derive(Debug, PartialEq)]
        struct Bare(u32);

        #[cached(ttl = 60, stale_if_error = 600, key = "bare", skip(origin))]
        async fn bare(origin: Origin) -> Result<u32, Bare> {
            origin.run().await.map_err(Bare)
        }

        for is_invalidated in [false, true] {
            let (_server, a, b) = pair();
            let origin = Origin::new(&[Act::Answer, Act::Fail]);
            let call = |origin: &Origin| {
                let origin = origin.clone();
                a.under_way(timed(async move { bare(origin).await }))
            };
            call(&origin).await.await.unwrap().0.unwrap();
            sleep(STALE).await;
            let calls = [call(&origin).await, call(&origin).await, call(&origin).await];
            if is_invalidated {
                b.cache.invalidate("bare").await.unwrap();
            }
            for call in calls {
                let (output, took) = call.await.unwrap();
                assert_eq!(output.is_ok(), !is_invalidated);
                assert!(took <= 2 * RUN, "{took:?}");
            }
            assert_eq!(origin.runs(), if is_invalidated { 4 } else { 2 });
        }
    }

    // F5.
    #[tokio::test(start_paused = true)]
    async fn who_came_after_the_old_value_was_confirmed_does_not_get_it() {
        #[cached(ttl = 60, stale_if_error = 600, local = false, key = "far", skip(origin))]
        async fn far(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        for act in [Act::Fail, Act::Panic] {
            let (_server, a, b) = pair();
            let origin = Origin::new(&[Act::Answer, act]);
            let call = || {
                let origin = origin.clone();
                b.under_way(timed(async move { (far(origin).await, Function) }))
            };
            call().await.await.unwrap().0.0.unwrap();
            sleep(STALE).await;
            let leader = call().await;
            sleep(RUN / 2).await;
            // What stands there is read again after the RELEASE.
            let confirmed = b.remote.hold(Verb::Get, At::Answered);
            sleep(RUN).await;
            // Invalidated since, and this process has not heard of it.
            b.remote.keep_messages();
            a.cache.invalidate("far").await.unwrap();
            let follower = call().await;
            confirmed.open();
            assert_eq!(leader.await.unwrap().0.0, Ok(1));
            assert_error(follower, act, 3).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_tier_has_lost_meanwhile_nobody_vouches_for() {
        let (server, a, _) = pair();
        let origin = kept_for_errors(&a).await;
        // Evicted, and nobody was told.
        server.set(SAFE, State::Absent);
        assert_eq!(a.safe(&origin).await, ((Err(2), Function), RUN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_of_memory_alone_goes_by_what_this_process_has_heard() {
        #[cached(ttl = 1, stale_if_error = 600, remote = false, key = "here", skip(origin))]
        async fn here(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let server = Server::new();
        let remote = server.connect("a");
        remote.prove_nothing();
        let cache = Cache::builder("test").clock(Virtual::new()).remote(Arc::clone(&remote) as _);
        let a = Node { cache: cache.build().unwrap(), remote, clock: ManualClock::new() };
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let call = || a.cache.scope(async { here(origin.clone()).await });
        a.remote.prove();
        call().await.unwrap();
        sleep(SECOND).await;
        a.remote.prove();
        sleep(SECOND / 2).await;
        a.remote.prove();
        // The proof ends before the run does, and nobody renews it.
        assert_eq!(call().await, Err(2));
    }
}

mod refresh {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_leaves_the_old_value_everywhere_and_returns_its_error() {
        let (server, a, b) = pair();
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        a.safe(&origin).await.0.0.unwrap();
        let refresh = || a.cache.scope(async { safe(origin.clone(), 1).refresh().await });
        assert_eq!(refresh().await, Err(2));
        sleep(MOMENT).await;
        assert_eq!((a.peek_safe().await, b.peek_safe().await), (Some(Ok(1)), Some(Ok(1))));
        sleep(STALE).await;
        assert_eq!(refresh().await, Err(3));
        sleep(MOMENT).await;
        let State::Value(_, None) = server.state(SAFE) else { panic!("{:?}", server.state(SAFE)) };
        // It is no try that others are kept from.
        let (output, took) = b.safe(&origin).await;
        assert_eq!((output.0, took), (Ok(1), RUN));
        assert_eq!(origin.runs(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_result_is_not_stored_removes_the_old_value_everywhere() {
        #[cached(ttl = 60, stale = 30, key = "some", skip(origin))]
        async fn some(origin: Origin) -> Option<u32> {
            origin.run().await.ok()
        }

        for is_explicit in [false, true] {
            let (server, a, b) = pair();
            let origin = Origin::new(&[Act::Answer, Act::Fail]);
            for node in [&a, &b] {
                assert_eq!(node.cache.scope(async { some(origin.clone()).await }).await, Some(1));
            }
            if is_explicit {
                let refresh = a.cache.scope(async { some(origin.clone()).refresh().await });
                assert_eq!(refresh.await, None);
            } else {
                sleep(STALE).await;
                let call = a.cache.scope(async { some(origin.clone()).await });
                assert_eq!(call.await, Some(1));
                sleep(2 * RUN).await;
            }
            assert_eq!(server.state("test:some"), State::Absent);
            for node in [&a, &b] {
                let kept = node.cache.scope(async { some(origin.clone()).peek().await }).await;
                assert_eq!(kept, None);
            }
        }
    }
}
