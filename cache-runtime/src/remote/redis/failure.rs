//! Why a command failed.
//!
//! What the client or the server says about it is dropped here, all but the server's code: an
//! address may have a password in it, and a server repeats the arguments of a command that it
//! does not know, `AUTH` among them.

use std::{fmt, time::Duration};

use redis::{ErrorKind, RedisError, ServerError};

use crate::error::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was not sent: there is no connection, or too many commands are under way.
    Unavailable,
    /// The connection broke while it was under way: it may have taken effect.
    Lost,
    /// There was no answer in time: it may take effect yet.
    Timeout(Duration),
    /// The server refused, with one of the codes of `CODES`.
    Refused(&'static str),
    /// The answer was none.
    Garbage,
}

impl Failure {
    pub(super) fn of_client(error: &RedisError) -> Self {
        if error.is_io_error() || error.is_connection_dropped() {
            return Self::Lost;
        }
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) => Self::Refused("WRONGPASS"),
            (ErrorKind::RESP3NotSupported, _) => Self::Refused("NOPROTO"),
            (_, Some(code)) => Self::Refused(known(code)),
            _ => Self::Garbage,
        }
    }

    pub(super) fn of_server(error: &ServerError) -> Self {
        Self::Refused(known(error.code()))
    }

    /// The server is a replica, or has become one.
    pub(super) fn is_read_only(self) -> bool {
        self == Self::Refused("READONLY")
    }

    /// The connection is of no use any more.
    pub(super) fn is_broken(self) -> bool {
        matches!(self, Self::Lost | Self::Garbage)
    }
}

const CODES: &[&str] = &[
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "ERR",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
    "WRONGTYPE",
];

/// A server that is none may say anything.
fn known(code: &str) -> &'static str {
    CODES.iter().find(|known| **known == code).copied().unwrap_or("ERR")
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable | Failure::Lost | Failure::Garbage => Self::Unavailable,
            Failure::Timeout(budget) => Self::Timeout { budget },
            Failure::Refused(_) => Self::Refused,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("Redis cannot be reached"),
            Self::Lost => f.write_str("the connection to Redis broke"),
            Self::Timeout(budget) => write!(f, "Redis did not answer within {budget:?}"),
            Self::Refused(code) => write!(f, "Redis refused with {code}"),
            Self::Garbage => f.write_str("the answer is not one of Redis"),
        }
    }
}

impl std::error::Error for Failure {}
