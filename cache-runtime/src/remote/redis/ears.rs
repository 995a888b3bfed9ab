use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use super::{
    subscriber::{Kind, Listener, Message},
    waiters::Waiters,
};
use crate::remote::Memory;

/// Those in this process who hear what others say.
pub(super) struct Ears {
    pub(super) waiters: Arc<Waiters>,
    memory: OnceLock<Weak<dyn Memory>>,
    /// Of the messages of this process.
    pub(super) sender: [u8; 8],
}

impl Ears {
    pub(super) fn new(waiters: Arc<Waiters>, sender: [u8; 8]) -> Arc<Self> {
        Arc::new(Self { waiters, memory: OnceLock::new(), sender })
    }

    /// From now on this memory hears what others change. The first one stays.
    pub(super) fn tell(&self, memory: Weak<dyn Memory>) {
        let _ = self.memory.set(memory);
    }

    fn memory(&self) -> Option<Arc<dyn Memory>> {
        self.memory.get()?.upgrade()
    }
}

impl Listener for Ears {
    fn now(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.now())
    }

    fn message(&self, message: Message<'_>) {
        self.waiters.message(message);
        // What this process has changed it has done to its own memory before it said so.
        if message.sender == self.sender {
            return;
        }
        match (message.kind, self.memory()) {
            (Kind::Invalidated | Kind::Tag, Some(memory)) => memory.invalidated(message.text),
            (Kind::Clear, Some(memory)) => memory.cleared(),
            (Kind::Wake | Kind::Free, _) | (_, None) => {}
        }
    }

    fn connected(&self, asked: u64) {
        self.waiters.look_again();
        if let Some(memory) = self.memory() {
            // Also what came in while it was not heard what others change.
            memory.broken();
            memory.proven(asked);
        }
    }

    fn proven(&self, asked: u64) {
        if let Some(memory) = self.memory() {
            memory.proven(asked);
        }
    }

    fn broken(&self) {
        self.waiters.look_again();
        if let Some(memory) = self.memory() {
            memory.broken();
        }
    }
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ears").field("waiters", &self.waiters).finish_non_exhaustive()
    }
}
