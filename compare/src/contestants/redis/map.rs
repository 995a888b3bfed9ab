//! By hand: entries in a map of each process, and messages about those that another has removed
//! from Redis. Nothing keeps the map from an old value.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, OnceLock};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands as _, AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, Value,
};

use super::by_hand::{ByHand, connect_as, connection};
use super::{Reader, Tier as _, Writer, service};
use crate::contestants::Calls;
use crate::values::{Profile, load};

/// Nobody is told.
pub struct Unlink;

/// The very same.
pub struct Again;

/// All who have a map are told.
pub struct UnlinkPublish;

static MESSAGES: OnceLock<MultiplexedConnection> = OnceLock::new();
static MAP: LazyLock<Mutex<HashMap<String, Profile>>> = LazyLock::new(Mutex::default);

fn key(id: u64) -> String {
    format!("{}:profile:{id}", service())
}

fn keys(ids: Range<u64>) -> Vec<String> {
    ids.map(key).collect()
}

impl Writer for Unlink {
    const NAME: &'static str = "UNLINK by hand";

    async fn set_up() {
        ByHand::set_up().await;
    }

    async fn store(id: u64) {
        let value: Profile = load(id).await;
        let stored = serde_json::to_vec(&value).unwrap();
        let () = connection().set_ex(key(id), stored, 3600).await.unwrap();
    }

    async fn invalidate(ids: Range<u64>) {
        let count = ids.end - ids.start;
        let removed: u64 = connection().unlink(keys(ids)).await.unwrap();
        assert_eq!(removed, count);
    }
}

impl Writer for Again {
    const NAME: &'static str = "UNLINK by hand, again";

    async fn set_up() {
        Unlink::set_up().await;
    }

    async fn store(id: u64) {
        Unlink::store(id).await;
    }

    async fn invalidate(ids: Range<u64>) {
        Unlink::invalidate(ids).await;
    }
}

impl Writer for UnlinkPublish {
    const NAME: &'static str = "UNLINK and PUBLISH by hand";

    async fn set_up() {
        ByHand::set_up().await;
        // As larder does: on a connection of its own, and heard where it is read.
        let login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let config = AsyncConnectionConfig::new().set_push_sender(|push| {
            hear(&push);
            Ok::<(), ()>(())
        });
        let mut messages = connect_as(login, config).await;
        messages.subscribe(service()).await.unwrap();
        let _ = MESSAGES.set(messages);
    }

    async fn store(id: u64) {
        Unlink::store(id).await;
        let value: Profile = load(id).await;
        MAP.lock().unwrap().insert(key(id), value);
    }

    async fn invalidate(ids: Range<u64>) {
        let mut pipeline = redis::pipe();
        for key in keys(ids) {
            MAP.lock().unwrap().remove(&key);
            pipeline.unlink(&key).ignore().publish(service(), key).ignore();
        }
        let () = pipeline.query_async(&mut connection()).await.unwrap();
    }
}

fn hear(push: &PushInfo) {
    if let (PushKind::Message, [_, Value::BulkString(key)]) = (&push.kind, &*push.data) {
        MAP.lock().unwrap().remove(str::from_utf8(key).unwrap());
    }
}

impl Reader for UnlinkPublish {
    fn has(id: u64) -> bool {
        // A clone, as an answer would be.
        MAP.lock().unwrap().get(&key(id)).cloned().is_some()
    }

    async fn other(id: u64) {
        <ByHand as Calls<Profile>>::call(id).await;
    }
}
