//! Servers that an example starts for itself, if they are installed: each on a socket in a folder of its
//! own, with no port, and gone when the example ends, also if it is killed.

mod folder;
mod postgres;
mod redis;
mod watch;

pub use folder::Folder;
pub use postgres::Postgres;
pub use redis::Redis;
