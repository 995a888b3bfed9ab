//! The connection that messages come by: one channel per service, on a connection of its own
//! beside the one for commands, kept by the same supervisor.
//!
//! It speaks RESP3, in which messages and answers come by one ordered stream: the answer to a
//! PING proves that every message sent before it has been heard.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use redis::{PushInfo, PushKind, Value};
use tokio::time::{Instant, sleep, timeout};

use super::{
    backoff::Backoff,
    connection::Shared,
    failure::Failure,
    race::{Either, race},
    supervisor::{SETTLED, server},
    wire::{self, Driver, Request, Wire, send},
};
use crate::watch::events;

/// Who hears the messages.
pub(crate) trait Listener: Send + Sync + 'static {
    /// The moment, by its own clock.
    fn now(&self) -> u64;

    /// A message, in order. Called where messages are read: it must not block.
    fn message(&self, message: Message<'_>);

    /// Every message from here on is heard, and all since that moment was.
    fn connected(&self, asked: u64);

    /// Every message that was sent by that moment has been heard.
    fn proven(&self, asked: u64);

    /// From here on messages may go unheard.
    fn broken(&self);
}

/// What one process tells the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind,
    /// A random number of the process.
    pub(crate) sender: [u8; 8],
    /// The key as in Redis; empty for `Clear`.
    pub(crate) text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Waiters of the key should look again.
    Wake = 1,
    Invalidated = 2,
    Tag = 3,
    Clear = 4,
    /// As `Wake`, where nothing was run.
    Free = 5,
}

const FORMAT: u8 = 1;

impl<'a> Message<'a> {
    /// `None` for what is no message of this format.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[FORMAT, kind], rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let (&sender, text) = rest.split_first_chunk()?;
        let kind = match kind {
            1 => Kind::Wake,
            2 => Kind::Invalidated,
            3 => Kind::Tag,
            4 => Kind::Clear,
            5 => Kind::Free,
            _ => return None,
        };
        Some(Self { kind, sender, text: std::str::from_utf8(text).ok()? })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(10 + self.text.len());
        bytes.extend([FORMAT, self.kind as u8]);
        bytes.extend(self.sender);
        bytes.extend(self.text.as_bytes());
        bytes
    }
}

/// Subscribes, and does so again whenever the connection breaks.
pub(super) async fn keep_subscribed(shared: &Arc<Shared>) {
    let mut backoff = Backoff::default();
    let mut is_told_broken = false;
    loop {
        if let Ok(Ok(mut link)) = timeout(shared.patience(), subscribe(shared)).await {
            let began = Instant::now();
            let broken = Broken(shared);
            shared.counters.subscriptions.fetch_add(1, Relaxed);
            shared.heard_until(link.sent);
            shared.listener.connected(link.asked);
            if std::mem::take(&mut is_told_broken) {
                events::backplane_heard(&shared.settings.service);
            }
            listen(shared, &mut link).await;
            drop(broken);
            // Not where the cache has ended, which is nothing to be told of.
            is_told_broken = true;
            events::backplane_broken(&shared.settings.service);
            if began.elapsed() > SETTLED {
                backoff.reset();
            }
        }
        sleep(backoff.next((shared.settings.random)())).await;
    }
}

/// Says that the connection is broken, also when the runtime ends.
struct Broken<'a>(&'a Shared);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        self.0.listener.broken();
    }
}

/// A connection that is subscribed.
struct Link {
    wire: Wire,
    driver: Driver,
    /// Which server it goes to.
    server: String,
    /// When it asked to be subscribed, by the clock of who hears the messages, and by the age of the
    /// connection.
    asked: u64,
    sent: u64,
}

async fn subscribe(shared: &Arc<Shared>) -> Result<Link, Failure> {
    let listener = Arc::clone(&shared.listener);
    let channel = shared.settings.service_key.clone();
    let on_push = move |push: PushInfo| {
        if let (PushKind::Message, [Value::BulkString(from), Value::BulkString(bytes)]) =
            (push.kind, push.data.as_slice())
            && *from == channel.as_bytes()
            && let Some(message) = Message::parse(bytes)
        {
            listener.message(message);
        }
    };
    let address = &shared.settings.address;
    let (mut wire, driver) = wire::open(address, Some(Box::new(on_push))).await?;
    let server = server(&wire).await?;
    if !shared.is_met(&server) {
        return Err(Failure::Unavailable);
    }
    let (asked, sent) = (shared.listener.now(), shared.age());
    let subscribed = wire.subscribe(&shared.settings.service_key).await;
    subscribed.map_err(|error| Failure::of_client(&error))?;
    Ok(Link { wire, driver, server, asked, sent })
}

/// Returns when the connection is broken or silent, or goes to another server than the commands.
async fn listen(shared: &Shared, link: &mut Link) {
    let Link { wire, driver, server, .. } = link;
    loop {
        if let Either::First(()) = race(driver.ended(), sleep(shared.interval())).await {
            return;
        }
        let (asked, sent) = (shared.listener.now(), shared.age());
        let ping = Request::Command(redis::cmd("PING"));
        let answered = timeout(shared.silence(), send(wire.clone(), ping));
        match race(answered, driver.ended()).await {
            Either::First(Ok(Ok(_))) if shared.is_met(server) => {
                shared.heard_until(sent);
                shared.listener.proven(asked);
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_way() {
        for kind in [Kind::Wake, Kind::Invalidated, Kind::Tag, Kind::Clear, Kind::Free] {
            let message = Message { kind, sender: *b"12345678", text: "shop:user:Zoë" };
            assert_eq!(Message::parse(&message.bytes()), Some(message));
        }
        let clear = Message { kind: Kind::Clear, sender: [0; 8], text: "" };
        assert_eq!(Message::parse(&clear.bytes()), Some(clear));
    }

    #[test]
    fn what_is_no_message_is_ignored() {
        let message = Message { kind: Kind::Wake, sender: *b"12345678", text: "k" }.bytes();
        for length in 0..10 {
            assert_eq!(Message::parse(&message[..length]), None);
        }
        for (at, byte) in [(0, 0), (0, 2), (1, 0), (1, 6), (10, 0xff)] {
            let mut message = message.clone();
            message[at] = byte;
            assert_eq!(Message::parse(&message), None);
        }
    }
}
