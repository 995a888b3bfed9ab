//! No cache: GET and serde, and on a miss the function and SET, on the connection that larder has.
//! With the time limit that the client has by default, and without.

use std::sync::OnceLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, AsyncConnectionConfig, RedisConnectionInfo};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{HandOff, Tier, Which, service, url};
use crate::contestants::Calls;
use crate::measure::redis::run;
use crate::values::{for_each_stored_value, load};

pub struct ByHand;

/// The very same.
pub struct Again;

/// One that waits for ever for a server that hangs.
pub struct Unlimited;

/// SET NX for a lock, which those who do not get it look at every 10 ms.
pub struct Polling;

impl Tier for ByHand {
    const NAME: &'static str = "GET by hand";

    async fn set_up() {
        let _ = CONNECTION.set(connect(AsyncConnectionConfig::new()).await);
    }
}

impl Tier for Unlimited {
    const NAME: &'static str = "GET by hand, no time limit";

    async fn set_up() {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let _ = CONNECTION.set(connect(config).await);
    }
}

impl Tier for Again {
    const NAME: &'static str = "GET by hand, again";

    async fn set_up() {
        ByHand::set_up().await;
    }
}

static CONNECTION: OnceLock<MultiplexedConnection> = OnceLock::new();

/// The one that was set up.
pub fn connection() -> MultiplexedConnection {
    CONNECTION.get().unwrap().clone()
}

/// As larder does: RESP2, and no delay.
pub async fn connect(config: AsyncConnectionConfig) -> MultiplexedConnection {
    connect_as(RedisConnectionInfo::default(), config).await
}

pub async fn connect_as(
    login: RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> MultiplexedConnection {
    let url = url();
    let address = url.strip_prefix("redis://").and_then(|url| url.strip_suffix("/0")).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&login, stream, config).await.unwrap();
    tokio::spawn(driver);
    connection
}

macro_rules! by_hand {
    ($name:ident, $capacity:tt, $value:ty) => {
        impl Calls<$value> for ByHand {
            async fn call(id: u64) -> $value {
                let mut connection = connection();
                let key = format!("{}:user:{id}", service());
                let stored: Option<Vec<u8>> = connection.get(&key).await.unwrap();
                if let Some(stored) = stored {
                    return serde_json::from_slice(&stored).unwrap();
                }
                let value: $value = load(id).await;
                let stored = serde_json::to_vec(&value).unwrap();
                let () = connection.set_ex(&key, stored, 3600).await.unwrap();
                value
            }
        }

        impl Calls<$value> for Again {
            async fn call(id: u64) -> $value {
                <ByHand as Calls<$value>>::call(id).await
            }
        }

        impl Calls<$value> for Unlimited {
            async fn call(id: u64) -> $value {
                <ByHand as Calls<$value>>::call(id).await
            }
        }
    };
}
for_each_stored_value!(by_hand);

impl HandOff for Polling {
    const NAME: &'static str = "by hand: SET NX, a look every 10 ms";

    async fn set_up() {
        ByHand::set_up().await;
    }

    async fn call(_: Which, id: u64) {
        let mut connection = connection();
        let (key, lock) = (format!("{}:{id}", service()), format!("{}:lock:{id}", service()));
        loop {
            let stored: Option<u64> = connection.get(&key).await.unwrap();
            if stored.is_some() {
                return;
            }
            let locked: bool = connection.set_nx(&lock, 1).await.unwrap();
            if !locked {
                sleep(Duration::from_millis(10)).await;
                continue;
            }
            if let Ok(value) = run(id).await {
                let () = connection.set_ex(&key, value, 3600).await.unwrap();
            }
            let () = connection.del(&lock).await.unwrap();
            return;
        }
    }
}
