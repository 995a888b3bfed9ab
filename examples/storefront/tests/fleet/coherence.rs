use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::{
    pair::{PROMISE, Pair, ROOM},
    things::{Thing, connect},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_through_one_instance_shows_in_the_other() {
    let pair = Pair::open().await;
    for (what, rounds, thing) in [
        ("a price", 400, Thing::Price(41)),
        ("a price in a list", 400, Thing::PriceInAList(42)),
        ("the name of a product", 200, Thing::Name(43)),
        ("a profile", 400, Thing::Profile(44)),
        ("the orders of a customer", 200, Thing::Orders(45)),
    ] {
        let mut times: Vec<_> = Vec::new();
        let [mut writer, mut reader] =
            [connect(pair.one.service.address).await, connect(pair.other.address).await];
        for _ in 0..rounds {
            // So that it is in the memory of the one that reads.
            thing.read(&mut reader).await;
            let written = thing.write(&mut writer).await;
            let began = Instant::now();
            while thing.read(&mut reader).await < written {
                assert!(began.elapsed() < PROMISE + ROOM, "{what} does not show");
                sleep(Duration::from_micros(100)).await;
            }
            times.push(began.elapsed());
            // Each is both.
            std::mem::swap(&mut writer, &mut reader);
        }
        times.sort_unstable();
        let (longest, median) = (times[times.len() - 1], times[times.len() / 2]);
        println!("{what}, {rounds} rounds: after {longest:.1?} at most, after {median:.1?} mostly");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_added_or_renamed_through_one_shows_in_lists_and_searches_of_the_other() {
    let pair = Pair::open().await;
    let (list, search) = ("/categories/20/products", "/search?category=20&words=zeppelin");
    for number in 0..100 {
        assert_eq!(pair.other.read(search).await.as_array().unwrap().len(), number.min(24));
        pair.other.read(list).await;
        let name = format!("000 zeppelin {:03}", 999 - number);
        let began = Instant::now();
        let id = if number % 2 == 0 {
            pair.one.add(20, &name, 1).await
        } else {
            let id = pair.one.add(20, &format!("000 blimp {number}"), 1).await;
            let path = format!("/products/{id}");
            assert_eq!(pair.one.put(&path, json!({ "name": name })).await.status, 200);
            id
        };
        for path in [list, search] {
            while pair.other.read(path).await[0]["product"]["id"] != id {
                assert!(began.elapsed() < PROMISE + ROOM, "{name} does not show in {path}");
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_the_other_has_not_found_is_found_once_it_is_added() {
    let pair = Pair::open().await;
    for id in 501..551 {
        let path = format!("/products/{id}");
        for service in pair.both() {
            assert_eq!(service.ask(hyper::Method::GET, &path, None).await.status, 404);
        }
        assert_eq!(pair.one.add(21, "the newest", 1).await, id);
        let began = Instant::now();
        while pair.other.ask(hyper::Method::GET, &path, None).await.status != 200 {
            assert!(began.elapsed() < PROMISE + ROOM, "{path} is not found");
            sleep(Duration::from_millis(1)).await;
        }
    }
}
