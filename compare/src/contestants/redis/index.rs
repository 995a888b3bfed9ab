//! By hand: a set with the keys of all entries of a group, which a script reads and removes with what
//! it names.

use redis::Script;

use super::by_hand::{ByHand, connection};
use super::{Filler, Group, Tier as _, service};
use crate::values::{Profile, load};

/// Entries of no group.
pub struct Unindexed;

/// Entries whose keys are in the set.
pub struct Index;

/// In parts, as Lua has no room for more arguments at once.
const REMOVE: &str = "
local keys = redis.call('SMEMBERS', KEYS[1])
local removed = 0
for first = 1, #keys, 5000 do
  removed = removed + redis.call('UNLINK', unpack(keys, first, math.min(first + 4999, #keys)))
end
redis.call('UNLINK', KEYS[1])
return { #keys, removed }
";

fn set() -> String {
    format!("{}:index", service())
}

async fn stored(id: u64) -> (String, Vec<u8>) {
    let value: Profile = load(id).await;
    (format!("{}:profile:{id}", service()), serde_json::to_vec(&value).unwrap())
}

impl Filler for Unindexed {
    const NAME: &'static str = "SET by hand";

    async fn set_up() {
        ByHand::set_up().await;
    }

    async fn store(id: u64) {
        let (key, value) = stored(id).await;
        let mut pipeline = redis::pipe();
        let () = pipeline.set_ex(key, value, 3600).query_async(&mut connection()).await.unwrap();
    }
}

impl Filler for Index {
    const NAME: &'static str = "index set by hand";

    async fn set_up() {
        ByHand::set_up().await;
    }

    async fn store(id: u64) {
        let (key, value) = stored(id).await;
        let mut pipeline = redis::pipe();
        pipeline.set_ex(&key, value, 3600).ignore().sadd(set(), &key).ignore();
        let () = pipeline.query_async(&mut connection()).await.unwrap();
    }
}

impl Group for Index {
    async fn invalidate() {
        let script = Script::new(REMOVE);
        let (keys, removed): (u64, u64) =
            script.key(set()).invoke_async(&mut connection()).await.unwrap();
        assert_eq!(keys, removed);
    }
}
