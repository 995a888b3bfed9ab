use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tokio::{task::block_in_place, time::sleep};

use super::{
    pair::{Pair, ROOM},
    things::{Thing, connect},
};
use crate::common::wait_until;

/// So long nobody stores what a writer that died has held for 5 s.
const HOLD: Duration = Duration::from_millis(7_500);

/// From now on each change of a price waits in its COMMIT for who has this lock.
async fn commits_wait(pair: &Pair) {
    let function = "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'";
    pair.one.change(function).await;
    let trigger = "CREATE CONSTRAINT TRIGGER wait_at_commit AFTER UPDATE ON prices
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()";
    pair.one.change(trigger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_that_dies_in_its_commit_has_written_shows_in_the_other() {
    let mut pair = Pair::open().await;
    commits_wait(&pair).await;
    for round in 1..=5 {
        let mut reader = connect(pair.other.address).await;
        let thing = Thing::Price(60 + round);
        let before = thing.read(&mut reader).await;
        let mut lock = AnyConnection::connect(&pair.one.service.database_url).await.unwrap();
        lock.execute("SELECT 1 FROM pg_advisory_lock(7)").await.unwrap();

        let (address, path) = (pair.one.service.address, format!("/products/{}/price", 60 + round));
        let sent = tokio::spawn(async move {
            let body = json!({ "cents": 5 });
            connect(address).await.ask(Method::PUT, &path, Some(&body)).await
        });
        wait_until("it is in its COMMIT", async || {
            let waiting = "SELECT COUNT(*) FROM pg_locks JOIN pg_database ON oid = database
                WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()";
            pair.one.number(waiting).await == 1
        })
        .await;
        // Who reads now must not keep it.
        for _ in 0..20 {
            assert_eq!(thing.read(&mut reader).await, before);
        }
        block_in_place(|| pair.one.service.kill());
        assert!(sent.await.unwrap().is_err(), "nobody has heard of the COMMIT");
        // What reads is not the process that died, so the COMMIT goes on.
        assert_eq!(thing.read(&mut reader).await, before);
        lock.execute("SELECT 1 FROM pg_advisory_unlock(7)").await.unwrap();
        let version = format!("SELECT version FROM prices WHERE product_id = {}", 60 + round);
        wait_until("it is committed", async || pair.one.number(&version).await > before).await;

        let began = Instant::now();
        while thing.read(&mut reader).await == before {
            assert!(began.elapsed() < HOLD + ROOM, "the old price stays");
            sleep(Duration::from_millis(1)).await;
        }
        println!("a COMMIT of an instance that died in it shows after {:.1?}", began.elapsed());
        let path = format!("/products/{}", 60 + round);
        wait_until("it is kept again", async || {
            let before = pair.other.queries().await;
            pair.other.read(&path).await;
            pair.other.queries().await == before
        })
        .await;
        println!("and is cached again after {:.1?}", began.elapsed());
        pair.one.service = pair.one.second();
        pair.hear_each_other().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_has_written_before_it_was_killed_shows_in_the_other() {
    let mut pair = Pair::open().await;
    let mut longest = Duration::ZERO;
    for round in 1..=15 {
        let product = 80 + round;
        let (thing, address) = (Thing::Price(product), pair.one.service.address);
        let writer = tokio::spawn(async move {
            let path = format!("/products/{product}/price");
            let mut client = connect(address).await;
            let mut written = 0;
            while client.ask(Method::PUT, &path, Some(&json!({ "cents": 1 }))).await.is_ok() {
                written += 1;
            }
            written
        });
        let mut reader = connect(pair.other.address).await;
        wait_until("there are writes", async || thing.read(&mut reader).await > 3).await;
        sleep(Duration::from_micros(fastrand::u64(..20_000))).await;
        block_in_place(|| pair.one.service.kill());
        let written: i64 = writer.await.unwrap();
        let began = Instant::now();
        let version = format!("SELECT version FROM prices WHERE product_id = {product}");
        // A last one may have been committed, or be so in a moment.
        while thing.read(&mut reader).await < pair.one.number(&version).await.max(written + 1) {
            assert!(began.elapsed() < HOLD + ROOM, "an old price stays");
            sleep(Duration::from_millis(1)).await;
        }
        longest = longest.max(began.elapsed());
        pair.one.service = pair.one.second();
        pair.hear_each_other().await;
        assert_eq!(thing.read(&mut reader).await, pair.one.number(&version).await);
    }
    println!("15 were killed: what they had written shows after {longest:.1?} at most");
}
