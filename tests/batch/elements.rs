//! What the function is called with, and what comes of what it returns.

use std::collections::HashMap;

use larder::{Cache, Source, cached};

use crate::db::{
    Db, Rows, alone, get_row, load_rows, row, rows, rows_of, started_row, started_rows,
};

#[tokio::test(start_paused = true)]
async fn the_function_runs_once_for_the_elements_that_are_missing() {
    alone(async {
        let db = Db::default();
        assert_eq!(load_rows(&db, &[1, 2, 3]).await, Ok(rows(1, &[1, 2, 3])));
        let read = load_rows(&db, &[2, 3, 4, 5]).await;
        assert_eq!(read, Ok(rows_of(&[(1, &[2, 3]), (2, &[4, 5])])));
        assert_eq!(load_rows(&db, &[1, 5]).await, Ok(rows_of(&[(1, &[1]), (2, &[5])])));
        assert_eq!(db.runs(), [vec![1, 2, 3], vec![4, 5]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn it_gets_each_element_once_and_in_their_order() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[8]).await.unwrap();
        let read = load_rows(&db, &[5, 3, 9, 3, 8, 5, 1, 9]).await;
        assert_eq!(read, Ok(rows_of(&[(1, &[8]), (2, &[5, 3, 9, 1])])));
        assert_eq!(db.runs(), [vec![8], vec![5, 3, 9, 1]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_elements_nothing_runs() {
    alone(async {
        let db = Db::default();
        assert_eq!(load_rows(&db, &[]).await, Ok(Rows::new()));
        assert_eq!(load_rows(&db, &[]).refresh().await, Ok(Rows::new()));
        assert_eq!(load_rows(&db, &[]).uncached().await, Ok(Rows::new()));
        assert_eq!(load_rows(&db, &[]).peek().await, Ok(Rows::new()));
        assert_eq!(load_rows(&db, &[]).with_sources().await, (Ok(Rows::new()), vec![]));
        assert_eq!(load_rows(&db, &[]).keys(), [""; 0]);
        load_rows(&db, &[]).invalidate().await.unwrap();
        load_rows(&db, &[]).put(Ok(Rows::new())).await.unwrap();
        assert_eq!(db.runs(), [[0; 0]; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_memory_has_all_nothing_runs() {
    alone(async {
        let db = Db::default();
        let ids: Vec<u64> = (0..500).collect();
        load_rows(&db, &ids).await.unwrap();
        for _ in 0..3 {
            assert_eq!(load_rows(&db, &ids).await, Ok(rows(1, &ids)));
        }
        assert_eq!(db.runs().len(), 1);
        let stats = Cache::current().stats();
        let row = stats.function("load_rows").unwrap();
        assert_eq!((row.cache_misses, row.cache_hits_memory), (500, 1500));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_element_is_the_entry_of_a_function_of_the_same_key() {
    alone(async {
        let db = Db::default();
        get_row(&db, 7).await.unwrap();
        assert_eq!(load_rows(&db, &[7, 8]).await, Ok(rows_of(&[(1, &[7]), (2, &[8])])));
        assert_eq!(get_row(&db, 8).await, Ok(row(2, 8)));
        get_row(&db, 8).invalidate().await.unwrap();
        let (output, sources) = load_rows(&db, &[7, 8]).with_sources().await;
        assert_eq!(output, Ok(rows_of(&[(1, &[7]), (3, &[8])])));
        assert!(matches!(sources[..], [Source::Memory { .. }, Source::Function]), "{sources:?}");
        assert_eq!(db.runs(), [vec![7], vec![8], vec![8]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_at_once_every_element_is_loaded_once() {
    alone(async {
        let db = Db::default();
        let (one, two, three, single) = tokio::join!(
            load_rows(&db, &[1, 2, 3]),
            load_rows(&db, &[3, 4, 5]),
            load_rows(&db, &[5, 1, 6]),
            get_row(&db, 4),
        );
        assert_eq!(one, Ok(rows(1, &[1, 2, 3])));
        assert_eq!(two, Ok(rows_of(&[(1, &[3]), (2, &[4, 5])])));
        assert_eq!(three, Ok(rows_of(&[(1, &[1]), (2, &[5]), (3, &[6])])));
        assert_eq!(single, Ok(row(2, 4)));
        assert_eq!(db.runs(), [vec![1, 2, 3], vec![4, 5], vec![6]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_another_loads_is_waited_for_and_not_asked_for() {
    alone(async {
        let db = Db::default();
        let single = started_row(&db, 2).await;
        let batch = started_rows(&db, &[1, 2, 3]).await;
        // The function can be called only once, and the other may fail.
        assert_eq!(db.runs(), [vec![2]]);
        assert_eq!(single.await.unwrap(), Ok(row(1, 2)));
        assert_eq!(batch.await.unwrap(), Ok(rows_of(&[(1, &[2]), (2, &[1, 3])])));
        assert_eq!(db.runs(), [vec![2], vec![1, 3]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_others_load_all_the_function_is_not_called() {
    alone(async {
        let db = Db::default();
        let first = started_rows(&db, &[1, 2]).await;
        let (output, sources) = load_rows(&db, &[2, 1]).with_sources().await;
        assert_eq!(output, Ok(rows(1, &[1, 2])));
        assert_eq!(sources, [Source::Shared, Source::Shared]);
        first.await.unwrap().unwrap();
        assert_eq!(db.runs(), [vec![1, 2]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_map_lacks_is_not_in_it_and_not_stored() {
    alone(async {
        let db = Db::default();
        for _ in 0..2 {
            assert_eq!(load_rows(&db, &[1, 1001]).await, Ok(rows(1, &[1])));
        }
        assert_eq!(db.runs(), [vec![1, 1001], vec![1001]]);
        assert_eq!(get_row(&db, 1001).await, Err("nobody".to_owned()));
        assert_eq!(db.runs().len(), 3);
    })
    .await;
}

mod none {
    use super::*;

    #[cached(ttl = 60, none_ttl = 5, key = "known:{id}", skip(db), each(id in ids))]
    async fn load_known(db: &Db, ids: &[u64]) -> Result<Rows, String> {
        db.load(ids).await
    }

    #[cached(ttl = 60, key = "known:{id}", skip(db))]
    async fn find(db: &Db, id: u64) -> Result<Option<String>, String> {
        db.load_one(id).await
    }

    #[cached(ttl = 60, key = "known:{id}", skip(db))]
    async fn get(db: &Db, id: u64) -> Result<String, String> {
        db.load_one(id).await?.ok_or_else(|| "nobody".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_map_lacks_is_a_none_that_is_stored_where_it_is_asked_for() {
        alone(async {
            let db = Db::default();
            for _ in 0..2 {
                assert_eq!(load_known(&db, &[1, 1001]).await, Ok(rows(1, &[1])));
            }
            // As it is for a function of one, if that has a `None`.
            assert_eq!(find(&db, 1001).await, Ok(None));
            assert_eq!(db.runs(), [[1, 1001]]);
            assert_eq!(get(&db, 1001).await, Err("nobody".to_owned()));
            assert_eq!(db.runs().len(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_none_of_a_function_of_one_is_what_the_map_lacks() {
        #[cached(ttl = 60, none_ttl = 5, key = "known:{id}", skip(db))]
        async fn find(db: &Db, id: u64) -> Option<String> {
            db.load_one(id).await.unwrap()
        }
        alone(async {
            let db = Db::default();
            assert_eq!(find(&db, 1001).await, None);
            assert_eq!(load_known(&db, &[1, 1001]).await, Ok(rows(2, &[1])));
            assert_eq!(db.runs(), [[1001], [1]]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_one_that_the_map_lacks_gets_a_none() {
        alone(async {
            let db = Db::default();
            let (batch, one) = tokio::join!(load_known(&db, &[1, 1001]), find(&db, 1001));
            assert_eq!(batch, Ok(rows(1, &[1])));
            assert_eq!(one, Ok(None));
            assert_eq!(db.runs(), [[1, 1001]]);
        })
        .await;
    }
}

/// It returns the row before each as well.
#[cached(ttl = 60, key = "row:{id}", skip(db), each(id in ids))]
async fn load_more(db: &Db, ids: &[u64]) -> Result<Rows, String> {
    let before = ids.iter().map(|id| id - 1);
    let all: Vec<u64> = before.chain(ids.iter().copied()).collect();
    db.load(&all).await
}

#[tokio::test(start_paused = true)]
async fn what_was_not_asked_for_comes_along_and_is_not_stored() {
    alone(async {
        let db = Db::default();
        assert_eq!(load_more(&db, &[2, 5]).await, Ok(rows(1, &[1, 2, 4, 5])));
        assert_eq!(load_more(&db, &[2, 5]).await, Ok(rows(1, &[2, 5])));
        assert_eq!(load_rows(&db, &[1]).await, Ok(rows(2, &[1])));
        assert_eq!(db.runs(), [vec![1, 4, 2, 5], vec![1]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_and_is_stored_stays_what_it_is() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1]).await.unwrap();
        // The run is for 2, and returns 1 as well.
        assert_eq!(load_more(&db, &[1, 2]).await, Ok(rows_of(&[(1, &[1]), (2, &[2])])));
        assert_eq!(load_rows(&db, &[1]).await, Ok(rows(1, &[1])));
    })
    .await;
}

/// Ten to a page.
#[cached(ttl = 60, key = ("page:{page}", page = id / 10), skip(db), each(id in ids))]
async fn load_of_pages(db: &Db, ids: &[u64]) -> Result<Rows, String> {
    db.load(ids).await
}

#[tokio::test(start_paused = true)]
async fn two_elements_of_one_key_are_both_loaded_and_one_is_stored() {
    alone(async {
        let db = Db::default();
        assert_eq!(load_of_pages(&db, &[11, 12, 21]).await, Ok(rows(1, &[11, 12, 21])));
        assert_eq!(db.runs(), [[11, 12, 21]]);
        // By such a key they are the same.
        let again = load_of_pages(&db, &[11, 12, 21]).await.unwrap();
        assert_eq!(again[&11], again[&12]);
        assert_eq!(db.runs().len(), 1);
        assert_eq!(load_of_pages(&db, &[11, 12]).keys(), ["page:1", "page:1"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_function_may_call_itself_for_other_elements() {
    /// A node of a tree and what is below it, down to the leaves.
    #[cached(ttl = 60, key = "sum:{node}", each(node in nodes))]
    async fn sums(nodes: &[u64]) -> HashMap<u64, u64> {
        let below: Vec<u64> = nodes.iter().flat_map(|node| [2 * node, 2 * node + 1]).collect();
        let below: Vec<u64> = below.into_iter().filter(|node| *node < 16).collect();
        let of = if below.is_empty() { HashMap::new() } else { Box::pin(sums(&below)).await };
        let sum = |node| of.get(&node).copied().unwrap_or(0);
        nodes.iter().map(|node| (*node, node + sum(2 * node) + sum(2 * node + 1))).collect()
    }
    alone(async {
        assert_eq!(sums(&[1]).await[&1], (1..16).sum::<u64>());
        assert_eq!(sums(&[4, 5]).peek().await, HashMap::from([(4, 21), (5, 26)]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_is_counted_once_however_many_elements_it_is_for() {
    let db = Db::default();
    let cache = Cache::memory();
    cache
        .scope(async {
            load_rows(&db, &[1, 2, 3]).await.unwrap();
            load_rows(&db, &[3, 4]).await.unwrap();
            load_rows(&db, &[5, 6]).uncached().await.unwrap();
        })
        .await;
    let stats = cache.stats();
    let row = stats.function("load_rows").unwrap();
    assert_eq!((row.runs, row.inflight_requests, row.errors), (2, 0, 0));
    assert_eq!((row.cache_misses, row.cache_hits_memory), (4, 1));
}
