use std::fmt;

use crate::error::Error;

/// Why a lock was not taken, or not kept.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// Others had it for as long as the caller would wait.
    TimedOut,
    /// It was held and is no longer: it was not renewed in time, and somebody else may have it.
    Lost,
    /// The remote tier did not say whether it may be taken, or that it was given back.
    Unavailable {
        /// What it said instead.
        source: Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "others held the lock for as long as this caller would wait",
            Self::Lost => "the lock was lost while it was held",
            Self::Unavailable { .. } => "the lock cannot be asked for or given back",
        })
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable { source } => Some(source),
            Self::TimedOut | Self::Lost => None,
        }
    }
}
