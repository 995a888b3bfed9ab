//! Tags: what a bump drops, and what it does to loads, writers and other processes that it meets.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    At, Message, Server, State, Verb,
    node::{Failed, LEASE, MOMENT, Node, Script, alone, pair},
};
use larder::{__private::Change, Cache, Error, ManualClock, Options, cached, invalidates, updates};
use tokio::{task::JoinHandle, time::sleep};

#[cached(ttl = 60, key = "member:{team}:{id}", tags("team:{team}", "members"), skip(script))]
async fn member(script: Arc<Script>, team: u64, id: u64) -> Result<u32, Failed> {
    script.play().await
}

/// The same, of which nothing is kept in memory.
#[cached(ttl = 60, key = "far:{id}", tags("far"), local = false, skip(script))]
async fn far(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
    script.play().await
}

#[cached(ttl = 60, key = "strict:{id}", tags("far"), tags_strict, local = false, skip(script))]
async fn strict(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
    script.play().await
}

const MEMBER: &str = "test:member:7:1";
const FAR: &str = "test:far:1";
const TEAM: &str = ":larder:test:team:7";
const FAR_TAG: &str = ":larder:test:far";

impl Node {
    async fn member(&self, script: &Arc<Script>) -> Result<u32, Failed> {
        self.cache.scope(async { member(Arc::clone(script), 7, 1).await }).await
    }

    async fn far(&self, script: &Arc<Script>) -> Result<u32, Failed> {
        self.cache.scope(async { far(Arc::clone(script), 1).await }).await
    }

    async fn strict(&self, script: &Arc<Script>) -> Result<u32, Failed> {
        self.cache.scope(async { strict(Arc::clone(script), 1).await }).await
    }

    /// A call on a task of its own, which has got to where it waits.
    async fn under_way<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let call = self.spawn(call);
        sleep(MOMENT).await;
        call
    }

    async fn member_under_way(&self, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        self.under_way(async move { member(script, 7, 1).await }).await
    }

    async fn far_under_way(&self, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        self.under_way(async move { far(script, 1).await }).await
    }

    async fn strict_under_way(&self, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        self.under_way(async move { strict(script, 1).await }).await
    }

    async fn bump(&self, tag: &str) -> Result<(), Error> {
        self.cache.invalidate_tag(tag).await
    }
}

mod in_memory {
    use super::*;

    /// A call on a task of its own.
    fn started(cache: &Cache, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        tokio::spawn(cache.scope(async move { member(script, 7, 1).await }))
    }

    /// With time that stands still.
    fn cache() -> Cache {
        Cache::builder("test").clock(ManualClock::new()).build().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_bump_drops_every_entry_of_the_tag_and_no_other() {
        let script = Script::new();
        cache()
            .scope(async {
                for (team, id) in [(7, 1), (7, 2), (8, 1)] {
                    member(Arc::clone(&script), team, id).await.unwrap();
                }
                Cache::current().invalidate_tag("team:7").await.unwrap();
                let kept = |team, id| member(Script::new(), team, id).peek();
                assert_eq!(kept(7, 1).await, None);
                assert_eq!(kept(7, 2).await, None);
                assert_eq!(kept(8, 1).await, Some(Ok(3)));
                Cache::current().invalidate_tag("members").await.unwrap();
                assert_eq!(kept(8, 1).await, None);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_kept_again_after_a_bump() {
        let script = Script::new();
        cache()
            .scope(async {
                let call = || member(Arc::clone(&script), 7, 1);
                call().await.unwrap();
                Cache::current().invalidate_tag("team:7").await.unwrap();
                assert_eq!(call().await, Ok(2));
                assert_eq!(call().await, Ok(2));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn hits_and_misses_are_counted_as_of_any_function() {
        let cache = cache();
        let script = Script::new();
        cache
            .scope(async {
                let call = || member(Arc::clone(&script), 7, 1);
                for _ in 0..3 {
                    call().await.unwrap();
                }
                Cache::current().invalidate_tag("members").await.unwrap();
                call().await.unwrap();
            })
            .await;
        let row = &cache.stats().functions[0];
        assert_eq!((row.cache_hits_memory, row.cache_misses, row.runs), (2, 2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_began_before_a_bump_is_not_kept_and_not_joined() {
        let script = Script::new();
        let cache = cache();
        let call = |script: &Arc<Script>| started(&cache, script);
        let first = call(&script);
        sleep(MOMENT).await;
        let second = call(&script);
        sleep(MOMENT).await;
        cache.invalidate_tag("team:7").await.unwrap();
        let third = call(&script);
        // Those who came before share the run before.
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(1), Ok(1)));
        assert_eq!(third.await.unwrap(), Ok(2));
        assert_eq!(call(&script).await.unwrap(), Ok(2));
        assert_eq!(script.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_is_joined_after_a_bump_of_another_tag() {
        let script = Script::new();
        let cache = cache();
        let call = |script: &Arc<Script>| started(&cache, script);
        let first = call(&script);
        sleep(MOMENT).await;
        cache.invalidate_tag("team:8").await.unwrap();
        cache.invalidate("team:7").await.unwrap();
        let second = call(&script);
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(1), Ok(1)));
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_takes_over_after_a_bump_starts_over() {
        let script = Script::stuck(1);
        let cache = cache();
        let call = |script: &Arc<Script>| started(&cache, script);
        let leader = call(&script);
        sleep(MOMENT).await;
        let follower = call(&script);
        sleep(MOMENT).await;
        cache.invalidate_tag("team:7").await.unwrap();
        leader.abort();
        assert_eq!(follower.await.unwrap(), Ok(2));
        // What began after the bump is kept.
        assert_eq!(call(&script).await.unwrap(), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_tag_is_held_nothing_is_kept_and_callers_share_a_run() {
        let script = Script::new();
        let cache = cache();
        let call = |script: &Arc<Script>| started(&cache, script);
        call(&script).await.unwrap().unwrap();
        let held = cache.invalidation().tag("team:7").hold(Duration::from_secs(5)).await.unwrap();
        let (one, two) = (call(&script), call(&script));
        assert_eq!((one.await.unwrap(), two.await.unwrap()), (Ok(2), Ok(2)));
        assert_eq!(call(&script).await.unwrap(), Ok(3));
        held.complete().await.unwrap();
        assert_eq!(call(&script).await.unwrap(), Ok(4));
        assert_eq!(call(&script).await.unwrap(), Ok(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_tag_whose_writer_is_dropped_keeps_nothing_for_the_length_of_its_hold() {
        let script = Script::new();
        let cache = cache();
        let call = |script: &Arc<Script>| started(&cache, script);
        let hold = Duration::from_secs(5);
        drop(cache.invalidation().tag("team:7").hold(hold).await.unwrap());
        assert_eq!(call(&script).await.unwrap(), Ok(1));
        assert_eq!(call(&script).await.unwrap(), Ok(2));
        sleep(2 * hold).await;
        assert_eq!(call(&script).await.unwrap(), Ok(3));
        assert_eq!(call(&script).await.unwrap(), Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attribute_bumps_after_success_alone() {
        #[invalidates(tag("team:{team}"))]
        async fn rename(team: u64, succeeds: bool) -> Result<(), Failed> {
            if succeeds { Ok(()) } else { Err(Failed(0)) }
        }
        #[invalidates(tag("team:{team}"), hold = "5s", on = "always")]
        async fn try_it(team: u64) -> Result<(), Failed> {
            Err(Failed(u32::try_from(team).unwrap()))
        }
        let script = Script::new();
        cache()
            .scope(async {
                let call = || member(Arc::clone(&script), 7, 1);
                call().await.unwrap();
                rename(7, false).await.unwrap_err();
                assert_eq!(call().await, Ok(1));
                rename(8, true).await.unwrap();
                assert_eq!(call().await, Ok(1));
                rename(7, true).await.unwrap();
                assert_eq!(call().await, Ok(2));
                try_it(7).await.unwrap_err();
                assert_eq!(call().await, Ok(3));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_dropped_in_its_body_bumps() {
        #[invalidates(tag("team:{team}"))]
        async fn hang(team: u64) {
            sleep(Duration::from_secs(3600)).await;
        }
        let script = Script::new();
        cache()
            .scope(async {
                let call = || member(Arc::clone(&script), 7, 1);
                call().await.unwrap();
                let _ = tokio::time::timeout(MOMENT, hang(7)).await;
                assert_eq!(call().await, Ok(2));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_was_put_is_dropped_by_a_bump() {
        #[updates(member(Script::new(), 7, 1))]
        async fn update(with: u32) -> Result<u32, Failed> {
            Ok(with)
        }
        cache()
            .scope(async {
                let kept = || member(Script::new(), 7, 1).peek();
                update(41).await.unwrap();
                assert_eq!(kept().await, Some(Ok(41)));
                member(Script::new(), 7, 1).put(42).await.unwrap();
                assert_eq!(kept().await, Some(Ok(42)));
                Cache::current().invalidate_tag("team:7").await.unwrap();
                assert_eq!(kept().await, None);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_whose_tag_is_bumped_during_its_update_is_not_kept() {
        #[updates(member(Script::new(), 7, 1))]
        async fn update(during: impl Future<Output = ()>) -> Result<u32, Failed> {
            during.await;
            Ok(41)
        }
        cache()
            .scope(async {
                let bump = async { Cache::current().invalidate_tag("team:7").await.unwrap() };
                update(bump).await.unwrap();
                assert_eq!(member(Script::new(), 7, 1).peek().await, None);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_put_under_a_held_tag_is_not_kept() {
        let cache = cache();
        cache
            .scope(async {
                let held =
                    cache.invalidation().tag("team:7").hold(Duration::from_secs(5)).await.unwrap();
                member(Script::new(), 7, 1).put(42).await.unwrap();
                assert_eq!(member(Script::new(), 7, 1).peek().await, None);
                held.complete().await.unwrap();
            })
            .await;
    }

    #[cached(ttl = 60, key = "page:{id}", tags("by:{author}"), skip(author, script))]
    async fn page(script: Arc<Script>, id: u64, author: &str) -> Result<u32, Failed> {
        script.play().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_joins_no_run_of_other_tags() {
        let script = Script::new();
        cache()
            .scope(async {
                let call = |author| page(Arc::clone(&script), 1, author);
                let runs = tokio::join!(call("ada"), call("bob"), call("ada"));
                assert_eq!(runs, (Ok(1), Ok(2), Ok(1)));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_tag_names_beyond_the_key_tells_entries_apart() {
        let script = Script::new();
        cache()
            .scope(async {
                let call = |author| page(Arc::clone(&script), 1, author);
                assert_eq!(call("ada").key(), "page:1");
                assert_eq!((call("ada").await, call("bob").await), (Ok(1), Ok(2)));
                assert_eq!((call("ada").await, call("bob").await), (Ok(1), Ok(2)));
                Cache::current().invalidate_tag("by:bob").await.unwrap();
                assert_eq!((call("ada").await, call("bob").await), (Ok(1), Ok(3)));
                // One key: both are named by it.
                call("ada").invalidate().await.unwrap();
                assert_eq!((call("ada").await, call("bob").await), (Ok(4), Ok(5)));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_key_an_argument_is_in_the_tag_as_it_is() {
        #[cached(ttl = 60, tags("of:{lang}"), skip(script))]
        async fn menu(script: Arc<Script>, _place: u64, lang: &str) -> Result<u32, Failed> {
            script.play().await
        }
        let script = Script::new();
        cache()
            .scope(async {
                let call = |lang| menu(Arc::clone(&script), 1, lang);
                assert_eq!((call("en").await, call("fr").await), (Ok(1), Ok(2)));
                Cache::current().invalidate_tag("of:en").await.unwrap();
                assert_eq!((call("en").await, call("fr").await), (Ok(3), Ok(2)));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_tag_is_written_alike_wherever_it_stands() {
        #[cached(
            ttl = 60,
            key = "doc:{path}:{page}",
            tags("path:{path}", "at:{page}-{path}"),
            skip(script)
        )]
        async fn doc(script: Arc<Script>, path: &str, page: Option<u8>) -> Result<u32, Failed> {
            script.play().await
        }
        #[invalidates(tag("path:{path}"))]
        async fn moved(path: String) {}
        #[invalidates(tag("at:{page}-{path}"))]
        async fn torn(path: &str, page: u64) {}
        #[invalidates(tag("at:{page}-{path}"))]
        async fn shown(page: impl larder::KeyPart, path: &str) {}
        let script = Script::new();
        cache()
            .scope(async {
                let path = "a:b/{c}%";
                let call = || doc(Arc::clone(&script), path, Some(3));
                call().await.unwrap();
                moved(path.to_owned()).await;
                assert_eq!(call().await, Ok(2));
                torn(path, 3).await;
                assert_eq!(call().await, Ok(3));
                shown(3u8, path).await;
                assert_eq!(call().await, Ok(4));
                moved("a".to_owned()).await;
                assert_eq!(call().await, Ok(4));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn any_option_goes_with_tags() {
        #[cached(
            ttl = |value| Duration::from_secs(u64::from(*value)),
            cache_if = |value| *value < 100,
            none_ttl = 5,
            share_error = |error| Failed(error.0),
            detached,
            tags("any"),
            key = "any:{id}",
            skip(script)
        )]
        async fn any(script: Arc<Script>, id: u64) -> Result<Option<u32>, Failed> {
            let run = script.play().await?;
            Ok((id == 1).then_some(run))
        }
        let script = Script::new();
        let cache = cache();
        cache
            .scope(async {
                let call = |id| any(Arc::clone(&script), id);
                assert_eq!((call(1).await, call(1).await), (Ok(Some(1)), Ok(Some(1))));
                assert_eq!((call(2).await, call(2).await), (Ok(None), Ok(None)));
                assert_eq!(script.runs(), 2);
                Cache::current().invalidate_tag("any").await.unwrap();
                assert_eq!((call(1).await, call(2).await), (Ok(Some(3)), Ok(None)));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_without_an_attribute_has_tags() {
        let cache = cache();
        let script = Script::new();
        let options = Options::ttl(Duration::from_secs(60));
        let load = |key, tag: &'static str| {
            let (cache, script) = (cache.clone(), Arc::clone(&script));
            let load = async move { script.play().await };
            async move { cache.get_or_load(key, options.tags([tag, "all"]), load).await }
        };
        assert_eq!((load("a", "x").await, load("b", "y").await), (Ok(1), Ok(2)));
        assert_eq!((load("a", "x").await, load("b", "y").await), (Ok(1), Ok(2)));
        cache.invalidate_tag("x").await.unwrap();
        assert_eq!((load("a", "x").await, load("b", "y").await), (Ok(3), Ok(2)));
        cache.invalidate_tag("all").await.unwrap();
        assert_eq!((load("a", "x").await, load("b", "y").await), (Ok(4), Ok(5)));
        // With other tags it is another entry, of the same key.
        assert_eq!((load("a", "y").await, load("a", "x").await), (Ok(6), Ok(4)));
        cache.invalidate("a").await.unwrap();
        assert_eq!((load("a", "y").await, load("a", "x").await), (Ok(7), Ok(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_with_tags_and_one_without_are_two_entries() {
        let cache = cache();
        let script = Script::new();
        let options = Options::ttl(Duration::from_secs(60));
        let load = |key: &'static str, options: Options<'static>| {
            let (cache, script) = (cache.clone(), Arc::clone(&script));
            async move { cache.get_or_load(key, options, async move { script.play().await }).await }
        };
        assert_eq!(load("a", options.tags(["b"])).await, Ok(1));
        assert_eq!(load("a", options).await, Ok(2));
        // As what is kept of the first would be written without its tags.
        assert_eq!(load("ab\u{1}\0\0\0\0\0\0\0", options).await, Ok(3));
        assert_eq!(load("a", options.tags(["b"])).await, Ok(1));
        assert_eq!(load("a", options.tags([])).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_drops_what_has_tags() {
        let script = Script::new();
        cache()
            .scope(async {
                let call = || member(Arc::clone(&script), 7, 1);
                call().await.unwrap();
                Cache::current().clear().await.unwrap();
                assert_eq!(call().await, Ok(2));
                assert_eq!(call().await, Ok(2));
            })
            .await;
    }

    #[tokio::test]
    async fn a_cache_that_is_bounded_by_bytes_counts_tags() {
        let cache = Cache::builder("test").capacity(10_000).max_bytes(100_000).build().unwrap();
        cache
            .scope(async {
                for id in 0..2_000 {
                    member(Script::new(), 7, id).put(1).await.unwrap();
                }
                let mut kept = 0;
                for id in 0..2_000 {
                    kept += u32::from(member(Script::new(), 7, id).peek().await.is_some());
                }
                assert!((100..600).contains(&kept), "{kept}");
            })
            .await;
    }
}

mod with_redis {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_miss_reads_the_stamps_with_its_lease() {
        let (server, a) = alone();
        let script = Script::new();
        assert_eq!(a.member(&script).await, Ok(1));
        assert_eq!(server.log_of(MEMBER), ["a GET", "a LEASE", "a MGET", "a FILL"]);
        server.forget();
        assert_eq!(a.member(&script).await, Ok(1));
        assert_eq!(server.log(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn stamps_that_are_known_are_not_read_again() {
        let (server, a, b) = pair();
        let script = Script::new();
        a.far(&script).await.unwrap();
        server.forget();
        assert_eq!(a.far(&script).await, Ok(1));
        assert_eq!(server.log(), ["a GET"]);
        server.forget();
        assert_eq!((b.far(&script).await, b.far(&script).await), (Ok(1), Ok(1)));
        assert_eq!(server.log(), ["b GET", "b MGET", "b GET"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bump_is_one_command_whatever_the_number_of_entries() {
        let (server, a) = alone();
        a.cache
            .scope(async {
                for id in 0..100 {
                    member(Script::new(), 7, id).put(1).await.unwrap();
                }
            })
            .await;
        server.forget();
        a.bump("team:7").await.unwrap();
        assert_eq!(server.log(), ["a INVALIDATE"]);
        assert_eq!(server.log_of(TEAM), ["a INVALIDATE"]);
        assert_eq!(a.member(&Script::new()).await, Ok(1));
        assert_eq!(server.log_of(MEMBER)[0], "a GET");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_whose_tag_was_bumped_during_its_run_is_never_served() {
        let (server, a, b) = pair();
        let script = Script::new();
        let run = a.member_under_way(&script).await;
        b.bump("team:7").await.unwrap();
        assert_eq!(run.await.unwrap(), Ok(1));
        assert!(server.value(MEMBER).is_some());
        for node in [&a, &b] {
            assert_eq!(node.member(&script).await, Ok(2));
        }
        assert_eq!(script.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_began_before_a_bump_of_its_process_is_not_joined() {
        let (_server, a) = alone();
        let script = Script::new();
        let run = a.far_under_way(&script).await;
        a.bump("far").await.unwrap();
        let later = a.far_under_way(&script).await;
        assert_eq!(run.await.unwrap(), Ok(1));
        assert_eq!(later.await.unwrap(), Ok(2));
        assert_eq!(a.far(&script).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_began_after_a_bump_is_kept_though_its_message_comes_late() {
        let (_server, a, b) = pair();
        let script = Script::new();
        b.remote.keep_messages();
        a.bump("team:7").await.unwrap();
        let run = b.member_under_way(&script).await;
        b.remote.deliver();
        assert_eq!(run.await.unwrap(), Ok(1));
        // It was stored for all, and in this memory it may be from before.
        assert_eq!((a.member(&script).await, b.member(&script).await), (Ok(1), Ok(1)));
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_whose_tag_was_bumped_during_its_run_is_never_served() {
        let (_server, a, b) = pair();
        let script = Script::new();
        a.member(&script).await.unwrap();
        let again = Arc::clone(&script);
        let refresh = a.under_way(async move { member(again, 7, 1).refresh().await }).await;
        b.bump("team:7").await.unwrap();
        assert_eq!(refresh.await.unwrap(), Ok(2));
        for node in [&a, &b] {
            assert_eq!(node.member(&script).await, Ok(3));
        }
        assert_eq!(script.runs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_whose_tag_was_bumped_while_it_was_read_is_not_kept() {
        let (server, a, b) = pair();
        let script = Script::new();
        a.far(&script).await.unwrap();
        let gate = b.remote.hold(Verb::Stamps, At::Answered);
        let read = b.far_under_way(&script).await;
        a.bump("far").await.unwrap();
        b.remote.answer(Verb::Stamps);
        gate.open();
        // It asked before the bump.
        assert_eq!(read.await.unwrap(), Ok(1));
        server.forget();
        assert_eq!(b.far(&script).await, Ok(2));
        assert_eq!(server.log_of(FAR)[..3], ["b GET", "b MGET", "b LEASE rejected"]);
    }

    #[tokio::test(start_paused = true)]
    async fn two_bumps_whose_messages_come_in_the_other_order_leave_the_newer_stamp() {
        let (_server, a, b) = pair();
        let script = Script::new();
        b.far(&script).await.unwrap();
        b.remote.keep_messages();
        a.bump("far").await.unwrap();
        assert_eq!(a.far(&script).await, Ok(2));
        a.bump("far").await.unwrap();
        assert_eq!(a.far(&script).await, Ok(3));
        let mut messages = b.remote.kept_messages();
        let is_bump = |message: &Message| *message == Message::Invalidated(FAR_TAG.to_owned());
        messages.retain(is_bump);
        assert_eq!(messages.len(), 2);
        for message in messages.iter().rev() {
            b.remote.listen(message);
            assert_eq!(b.far(&script).await, Ok(3));
        }
        assert_eq!(script.runs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_newer_than_a_known_stamp_is_served_and_not_replaced() {
        let (server, a, b) = pair();
        let script = Script::new();
        b.far(&script).await.unwrap();
        b.remote.keep_messages();
        a.bump("far").await.unwrap();
        assert_eq!(a.far(&script).await, Ok(2));
        server.forget();
        // Its own stamp is old, and it asks before it rejects.
        assert_eq!(b.far(&script).await, Ok(2));
        assert_eq!(server.log(), ["b GET", "b MGET"]);
        assert_eq!(script.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn elsewhere_a_bump_is_known_by_its_message_and_with_strict_tags_without_one() {
        let (server, a, b) = pair();
        let script = Script::new();
        b.far(&script).await.unwrap();
        b.strict(&script).await.unwrap();
        b.remote.keep_messages();
        a.bump("far").await.unwrap();
        // Within `max_staleness`, which is an hour here.
        assert_eq!(b.far(&script).await, Ok(1));
        assert_eq!(b.strict(&script).await, Ok(3));
        server.forget();
        assert_eq!(b.strict(&script).await, Ok(3));
        assert_eq!(server.log(), ["b GET", "b MGET"]);
        b.remote.deliver();
        assert_eq!(b.far(&script).await, Ok(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_takes_no_strict_value_whose_tag_was_bumped_before_it_came() {
        let (_server, a, b) = pair();
        let script = Script::new();
        b.remote.keep_messages();
        let run = b.strict_under_way(&script).await;
        a.bump("far").await.unwrap();
        let follower = b.strict_under_way(&script).await;
        assert_eq!(run.await.unwrap(), Ok(1));
        assert_eq!(follower.await.unwrap(), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_takes_no_value_whose_lease_stood_though_its_tag_was_bumped_before_it_came()
    {
        let (server, a, b) = pair();
        let script = Script::new();
        b.remote.keep_messages();
        let run = b.strict_under_way(&script).await;
        a.bump("far").await.unwrap();
        let follower = b.strict_under_way(&script).await;
        // The run stores nothing, and gives its lease back.
        b.remote.listen(&Message::Cleared);
        assert_eq!(run.await.unwrap(), Ok(1));
        assert!(server.log_of("test:strict:1").contains(&"b RELEASE".to_owned()));
        assert_eq!(follower.await.unwrap(), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_takes_a_strict_value_whose_tag_was_not_bumped() {
        let (_server, a) = alone();
        let script = Script::new();
        let run = a.strict_under_way(&script).await;
        let follower = a.strict_under_way(&script).await;
        assert_eq!((run.await.unwrap(), follower.await.unwrap()), (Ok(1), Ok(1)));
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_stamp_is_a_miss_and_no_old_value_comes_back() {
        let (server, a, b) = pair();
        let script = Script::new();
        a.far(&script).await.unwrap();
        // Evicted, expired, or removed by a bump that nobody heard of: it is all the same.
        server.set(FAR_TAG, State::Absent);
        assert_eq!(b.far(&script).await, Ok(2));
        server.set(FAR_TAG, State::Absent);
        a.bump("far").await.unwrap();
        assert_eq!((a.far(&script).await, b.far(&script).await), (Ok(3), Ok(3)));
        assert_eq!(script.runs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_flushed_has_nothing_to_come_back() {
        let (server, a, b) = pair();
        let script = Script::new();
        a.far(&script).await.unwrap();
        b.far(&script).await.unwrap();
        server.set(FAR_TAG, State::Absent);
        server.set(FAR, State::Absent);
        assert_eq!(b.far(&script).await, Ok(2));
        // It has the stamp of before, and asks for the one of now.
        assert_eq!(a.far(&script).await, Ok(2));
        assert_eq!(script.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bump_that_failed_is_repaired_and_until_then_this_process_trusts_no_entry_of_the_tag()
    {
        let (server, a, b) = pair();
        let script = Script::new();
        a.member(&script).await.unwrap();
        b.member(&script).await.unwrap();
        a.remote.fail(Verb::Invalidate);
        a.bump("team:7").await.unwrap_err();
        assert_eq!(a.cache.stats().redis.pending_repairs, 1);
        server.forget();
        assert_eq!((a.member(&script).await, a.member(&script).await), (Ok(2), Ok(3)));
        assert_eq!(server.log_of(MEMBER), [""; 0]);
        // Others know nothing of it.
        assert_eq!(b.member(&script).await, Ok(1));
        // Another tag is not concerned.
        a.cache.scope(async { member(Arc::clone(&script), 8, 1).await }).await.unwrap();
        let kept = a.cache.scope(async { member(Script::new(), 8, 1).peek().await }).await;
        assert_eq!(kept, Some(Ok(4)));
        a.remote.answer(Verb::Invalidate);
        a.cache.shutdown().await.unwrap();
        assert_eq!(a.cache.stats().redis.pending_repairs, 0);
        assert_eq!((a.member(&script).await, b.member(&script).await), (Ok(5), Ok(5)));
        assert_eq!(a.member(&script).await, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_bump_that_failed_no_call_reads_an_entry_of_the_tag_by_itself() {
        let (server, a) = alone();
        let script = Script::new();
        a.far(&script).await.unwrap();
        a.remote.fail(Verb::Invalidate);
        a.bump("far").await.unwrap_err();
        server.forget();
        assert_eq!((a.far(&script).await, a.far(&script).await), (Ok(2), Ok(3)));
        assert_eq!(server.log_of(FAR), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_waited_while_a_bump_failed_keeps_nothing_and_is_not_joined() {
        let (server, a, b) = pair();
        let script = Script::new();
        // Another process has a run under way.
        let run = a.member_under_way(&script).await;
        let waiting = b.member_under_way(&script).await;
        b.remote.fail(Verb::Invalidate);
        b.bump("team:7").await.unwrap_err();
        assert_eq!(run.await.unwrap(), Ok(1));
        assert_eq!(waiting.await.unwrap(), Ok(1));
        server.forget();
        assert_eq!((b.member(&script).await, b.member(&script).await), (Ok(2), Ok(3)));
        assert_eq!(server.log_of(MEMBER), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bump_that_is_dropped_on_its_way_is_repaired() {
        let (_server, a, b) = pair();
        let script = Script::new();
        b.member(&script).await.unwrap();
        let gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let _ = tokio::time::timeout(MOMENT, a.bump("team:7")).await.unwrap_err();
        a.remote.answer(Verb::Invalidate);
        gate.open();
        a.cache.shutdown().await.unwrap();
        assert_eq!(b.member(&script).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn callers_share_a_run_while_a_bump_has_not_landed() {
        let (_server, a) = alone();
        let script = Script::new();
        a.remote.fail(Verb::Invalidate);
        a.bump("team:7").await.unwrap_err();
        let run = a.member_under_way(&script).await;
        let follower = a.member_under_way(&script).await;
        assert_eq!((run.await.unwrap(), follower.await.unwrap()), (Ok(1), Ok(1)));
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_began_before_a_bump_that_failed_is_not_kept() {
        let (_server, a) = alone();
        let script = Script::new();
        let run = a.member_under_way(&script).await;
        a.remote.fail(Verb::Invalidate);
        a.bump("team:7").await.unwrap_err();
        assert_eq!(run.await.unwrap(), Ok(1));
        assert_eq!(a.member(&script).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn entries_and_tags_are_invalidated_with_one_request() {
        #[invalidates(member(Script::new(), 7, 1), tag("far"), tag("team:{team}"))]
        async fn change(team: u64) {}
        let (server, a, b) = pair();
        let script = Script::new();
        b.member(&script).await.unwrap();
        b.far(&script).await.unwrap();
        server.forget();
        a.cache.scope(async { change(7).await }).await;
        assert_eq!(server.log(), ["a INVALIDATE"; 3]);
        assert_eq!((b.member(&script).await, b.far(&script).await), (Ok(3), Ok(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_tag_is_held_no_process_stores_and_the_lease_is_given_back() {
        let (server, a, b) = pair();
        let script = Script::new();
        a.member(&script).await.unwrap();
        b.member(&script).await.unwrap();
        let held = a.cache.invalidation().tag("team:7").hold(LEASE).await.unwrap();
        assert!(matches!(server.state(TEAM), State::Hold(..)));
        for (node, run) in [(&a, 2), (&b, 3), (&b, 4)] {
            assert_eq!(node.member(&script).await, Ok(run));
        }
        sleep(MOMENT).await;
        assert_eq!(server.state(MEMBER), State::Absent);
        held.complete().await.unwrap();
        assert_eq!(server.state(TEAM), State::Absent);
        assert_eq!((a.member(&script).await, b.member(&script).await), (Ok(5), Ok(5)));
        assert_eq!(b.member(&script).await, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_that_began_before_a_tag_was_held_is_never_served() {
        let (_server, a, b) = pair();
        let script = Script::new();
        let run = b.member_under_way(&script).await;
        let held = a.cache.invalidation().tag("team:7").hold(LEASE).await.unwrap();
        assert_eq!(run.await.unwrap(), Ok(1));
        assert_eq!(b.member(&script).await, Ok(2));
        held.complete().await.unwrap();
        assert_eq!(b.member(&script).await, Ok(3));
        assert_eq!(b.member(&script).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tag_that_is_held_by_a_process_that_died_is_free_after_its_hold() {
        let (server, a, b) = pair();
        let script = Script::new();
        b.member(&script).await.unwrap();
        // It dies without a word: what it would do in the background is never done.
        let held = a.cache.invalidation().tag("team:7").hold(Duration::from_secs(5)).await.unwrap();
        std::mem::forget(held);
        a.remote.cut_off();
        assert_eq!(b.member(&script).await, Ok(2));
        assert_eq!(b.member(&script).await, Ok(3));
        sleep(2 * Duration::from_secs(5)).await;
        assert_eq!(server.state(TEAM), State::Absent);
        assert_eq!(b.member(&script).await, Ok(4));
        assert_eq!(b.member(&script).await, Ok(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_of_a_tag_that_failed_is_an_invalidation_like_others() {
        let (_server, a, b) = pair();
        let script = Script::new();
        b.member(&script).await.unwrap();
        a.remote.fail(Verb::Hold);
        let mut change = Change::new().hold(1_000);
        a.cache
            .scope(async {
                let mut parts = larder::__private::KeyBytes::new();
                parts.writer().part(&7u64);
                change.tag("team:{}", &parts);
            })
            .await;
        change.begin().await;
        change.succeeded().await;
        assert_eq!(a.cache.stats().redis.unheld, 1);
        assert_eq!(b.member(&script).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_put_carries_the_stamps_of_its_hold() {
        let (_server, a, b) = pair();
        let script = Script::new();
        a.cache.scope(async { member(Script::new(), 7, 1).put(42).await }).await.unwrap();
        assert_eq!((a.member(&script).await, b.member(&script).await), (Ok(42), Ok(42)));
        b.bump("team:7").await.unwrap();
        assert_eq!((a.member(&script).await, b.member(&script).await), (Ok(1), Ok(1)));
    }

    /// A `put` whose tag another process bumps before this step of it: its value is never served.
    async fn put_across_a_bump(step: Verb) {
        let (_server, a, b) = pair();
        let gate = a.remote.hold(step, At::Sent);
        let put = a.under_way(async { member(Script::new(), 7, 1).put(42).await }).await;
        b.bump("team:7").await.unwrap();
        gate.open();
        put.await.unwrap().unwrap();
        let script = Script::new();
        assert_eq!((b.member(&script).await, a.member(&script).await), (Ok(1), Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_put_while_its_tag_is_bumped_elsewhere_is_never_served() {
        put_across_a_bump(Verb::Settle).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_put_is_as_old_as_the_hold_that_read_its_stamps() {
        #[updates(member(Script::new(), 7, 1))]
        async fn update(during: impl Future<Output = ()>) -> Result<u32, Failed> {
            during.await;
            Ok(41)
        }
        let server = Server::new();
        let second = Duration::from_secs(1);
        let a = Node::with(&server, "a", |cache| cache.max_staleness(second));
        let b = Node::new(&server, "b");
        a.remote.notice_break();
        a.cache
            .scope(async {
                update(async {
                    b.bump("team:7").await.unwrap();
                    a.clock.advance(second);
                })
                .await
                .unwrap();
            })
            .await;
        // So long after the bump nothing from before it is served, whoever did not hear of it.
        assert_eq!(a.member(&Script::new()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_put_carries_stamps_from_before_its_hold() {
        put_across_a_bump(Verb::Hold).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_put_under_a_tag_that_another_holds_is_an_invalidation() {
        let (server, a, b) = pair();
        let held = b.cache.invalidation().tag("team:7").hold(LEASE).await.unwrap();
        a.cache.scope(async { member(Script::new(), 7, 1).put(42).await }).await.unwrap();
        assert_eq!(server.state(MEMBER), State::Absent);
        held.complete().await.unwrap();
        assert_eq!(a.member(&Script::new()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_proof_stamps_are_known_for_as_long_as_a_young_entry_is_used() {
        let server = Server::new();
        let second = Duration::from_secs(1);
        let a = Node::with(&server, "a", |cache| cache.max_staleness(second));
        a.remote.notice_break();
        let script = Script::new();
        a.far(&script).await.unwrap();
        server.forget();
        a.far(&script).await.unwrap();
        assert_eq!(server.log(), ["a GET"]);
        a.clock.advance(second);
        server.forget();
        a.far(&script).await.unwrap();
        assert_eq!(server.log(), ["a GET", "a MGET"]);
        assert_eq!(script.runs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_breaks_forgets_stamps() {
        let (server, a, b) = pair();
        let script = Script::new();
        b.far(&script).await.unwrap();
        b.remote.go_deaf();
        a.bump("far").await.unwrap();
        assert_eq!(b.far(&script).await, Ok(1));
        b.remote.subscribe();
        server.forget();
        assert_eq!(b.far(&script).await, Ok(2));
        assert_eq!(server.log_of(FAR)[..2], ["b GET", "b MGET"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bump_drops_what_stays_in_the_memory_of_another_process() {
        #[cached(ttl = 60, key = "here:{id}", tags("here:{id}"), remote = false, skip(script))]
        async fn here(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }
        let (_server, a, b) = pair();
        let script = Script::new();
        let read = async |node: &Node| {
            node.cache.scope(async { here(Arc::clone(&script), 1).await }).await
        };
        assert_eq!((read(&b).await, read(&b).await), (Ok(1), Ok(1)));
        a.bump("here:1").await.unwrap();
        assert_eq!((read(&b).await, read(&b).await), (Ok(2), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn other_tags_make_an_old_value_a_miss() {
        mod before {
            use super::*;

            #[cached(ttl = 60, key = "deploy:{id}", tags("team:{id}"), skip(script))]
            pub(super) async fn get(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
                script.play().await
            }
        }
        mod after {
            use super::*;

            #[cached(ttl = 60, key = "deploy:{id}", tags("group:{id}"), skip(script))]
            pub(super) async fn get(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
                script.play().await
            }

            #[cached(ttl = 60, key = "deploy:{id}", tags("group:{id}", "all"), skip(script))]
            pub(super) async fn more(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
                script.play().await
            }

            /// A tag of the same text.
            #[cached(ttl = 60, key = "deploy:{id}", tags("team:1"), skip(script))]
            pub(super) async fn fixed(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
                script.play().await
            }

            #[cached(ttl = 60, key = "deploy:{id}", skip(script))]
            pub(super) async fn none(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
                script.play().await
            }
        }
        let (_server, a, b) = pair();
        let script = Script::new();
        let get = || Arc::clone(&script);
        assert_eq!(a.cache.scope(async { before::get(get(), 1).await }).await, Ok(1));
        assert_eq!(b.cache.scope(async { after::fixed(get(), 1).await }).await, Ok(2));
        assert_eq!(b.cache.scope(async { after::get(get(), 1).await }).await, Ok(3));
        assert_eq!(b.cache.scope(async { after::more(get(), 1).await }).await, Ok(4));
        assert_eq!(b.cache.scope(async { after::none(get(), 1).await }).await, Ok(5));
        // An invalidation by the key reaches all of them.
        let invalidation = async { before::get(get(), 1).invalidate().await };
        a.cache.scope(invalidation).await.unwrap();
        assert_eq!(b.cache.scope(async { after::none(get(), 1).await }).await, Ok(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tag_and_a_key_of_one_text_are_two_things() {
        #[cached(ttl = 60, key = "team:{id}", skip(script))]
        async fn team(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
            script.play().await
        }
        let (_server, a, b) = pair();
        let script = Script::new();
        let read = async |node: &Node| {
            node.cache.scope(async { team(Arc::clone(&script), 7).await }).await
        };
        assert_eq!(read(&b).await, Ok(1));
        a.bump("team:7").await.unwrap();
        assert_eq!(read(&b).await, Ok(1));
        b.member(&script).await.unwrap();
        a.cache.invalidate("team:7").await.unwrap();
        assert_eq!((b.member(&script).await, read(&b).await), (Ok(2), Ok(3)));
        // Nor is the key pending where the tag is.
        b.remote.fail(Verb::Invalidate);
        b.bump("team:7").await.unwrap_err();
        assert_eq!((read(&b).await, read(&b).await), (Ok(3), Ok(3)));
        assert_eq!((b.member(&script).await, b.member(&script).await), (Ok(4), Ok(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_elsewhere_drops_what_has_tags() {
        let (_server, a, b) = pair();
        let script = Script::new();
        b.member(&script).await.unwrap();
        a.cache.clear().await.unwrap();
        assert_eq!((b.member(&script).await, a.member(&script).await), (Ok(2), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn stamps_that_are_not_answered_cost_no_call_its_value() {
        let server = Server::new();
        let a = Node::with(&server, "a", |cache| cache.redis_budget(Duration::from_millis(100)));
        let script = Script::new();
        a.remote.hang(Verb::Stamps);
        assert_eq!(a.member(&script).await, Ok(1));
        assert_eq!(server.state(MEMBER), State::Absent);
        a.remote.fail(Verb::Stamps);
        assert_eq!(a.far(&script).await, Ok(2));
        assert_eq!(server.state(FAR), State::Absent);
    }
}
