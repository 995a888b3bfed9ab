use std::{fmt, time::Duration};

/// Why a verb could not do what it was asked to. A cached read never fails because of the cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The remote tier cannot be reached.
    Unavailable,
    /// The remote tier did not answer in time.
    Timeout {
        /// The time it was given.
        budget: Duration,
    },
    /// The remote tier answered with a refusal.
    Refused,
    /// The value has no stored form.
    Encode {
        /// The function that returned it.
        function: &'static str,
        /// What serde said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The value is larger than what the remote tier takes.
    TooLarge {
        /// Its encoded length.
        bytes: u64,
        /// The longest that is taken.
        limit: u64,
    },
    /// Of several invalidations, some did not land. They are repeated in the background.
    NotLanded {
        /// The keys of these, and the tags, without the service.
        keys: Vec<String>,
        /// Why one of them did not.
        source: Box<Error>,
    },
    /// The cache was shut down.
    ShutDown,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("the remote tier cannot be reached"),
            Self::Timeout { budget } => {
                write!(f, "the remote tier did not answer within {budget:?}")
            }
            Self::Refused => f.write_str("the remote tier refused"),
            Self::Encode { function, .. } => write!(f, "a value of `{function}` cannot be encoded"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "a value of {bytes} bytes is above the limit of {limit}")
            }
            Self::NotLanded { keys, .. } => {
                write!(f, "the invalidation of {} did not land", keys.join(", "))
            }
            Self::ShutDown => f.write_str("the cache was shut down"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode { source, .. } => Some(&**source),
            Self::NotLanded { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

/// A setting that cannot be: which one, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The method of the builder or the variable of the environment: `capacity`,
    /// `LARDER_CAPACITY`.
    pub setting: &'static str,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.setting, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// Why a cache could not become the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallError {
    /// Another cache was installed before.
    AlreadyInstalled,
    /// A call came before and has taken the default, a cache in memory.
    AlreadyUsed,
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyInstalled => "a cache is installed already",
            Self::AlreadyUsed => {
                "a cached function was called before a cache was installed; install it first"
            }
        })
    }
}

impl std::error::Error for InstallError {}
