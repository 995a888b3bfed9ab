//! What is told when it happens: the one place where an event has its name, its level and its fields. None
//! of them is a key.

macro_rules! events {
    ($(
        $(#[$when:meta])*
        $id:ident($($field:ident: $type:ty),*) = $level:ident $name:literal in $target:literal $message:literal $help:literal;
    )*) => {
        $(
            $(#[$when])*
            #[cold]
            #[inline(never)]
            pub(crate) fn $id($($field: $type),*) {
                #[cfg(feature = "tracing")]
                tracing::event!(
                    name: $name,
                    target: $target,
                    tracing::Level::$level,
                    $($field,)*
                    $message
                );
                #[cfg(not(feature = "tracing"))]
                let _ = ($($field,)*);
            }
        )*

        /// Every event, in the order of the documentation.
        #[cfg(feature = "tracing")]
        pub static EVENTS: &[Event] = &[$(Event {
            name: $name,
            target: $target,
            level: tracing::Level::$level,
            fields: &[$(stringify!($field)),*],
            message: $message,
            help: $help,
        }),*];
    };
}

/// One event. Its name, its target, its level and its fields stay as they are within a major version.
#[cfg(feature = "tracing")]
#[derive(Debug)]
pub struct Event {
    /// What it is known by.
    pub name: &'static str,
    /// What part of the cache it is of.
    pub target: &'static str,
    /// How much it matters.
    pub level: tracing::Level,
    /// The names of its fields, but for the message.
    pub fields: &'static [&'static str],
    /// The same with every event of that name.
    pub message: &'static str,
    /// A sentence or two.
    pub help: &'static str,
}

events! {
    #[cfg(feature = "redis")]
    connected(service: &str, connections: u64) = INFO "larder.redis.connected" in "larder::redis"
        "connected to Redis"
        "A connection for commands has proven itself. `connections` is how many there were so far.";
    #[cfg(feature = "redis")]
    breaker_opened(service: &str, openings: u64) = WARN "larder.breaker.opened" in "larder::redis"
        "the breaker opened"
        "Redis is left alone until a new connection has proven itself.";
    #[cfg(feature = "redis")]
    breaker_closed(service: &str) = INFO "larder.breaker.closed" in "larder::redis"
        "the breaker closed"
        "Redis is used again.";
    #[cfg(feature = "redis")]
    backplane_broken(service: &str) = WARN "larder.backplane.broken" in "larder::redis"
        "the backplane broke"
        "What other processes invalidate is not heard: memory is not used.";
    #[cfg(feature = "redis")]
    backplane_heard(service: &str) = INFO "larder.backplane.heard" in "larder::redis"
        "the backplane is heard again"
        "It is heard again, and memory is used.";
    #[cfg(feature = "tracing")]
    repairs_pending(service: &str) = WARN "larder.repairs.pending" in "larder::redis"
        "invalidations are pending"
        "An invalidation has not landed. It is tried until it has, and so are those that come meanwhile.";
    #[cfg(feature = "tracing")]
    repairs_landed(service: &str) = INFO "larder.repairs.landed" in "larder::redis"
        "all invalidations have landed"
        "None is pending any more.";
    hold_missed(service: &str, unheld: u64) = DEBUG "larder.hold.missed" in "larder::redis"
        "a change is not held"
        "Redis did not give so many holds that a change had asked for.";
    #[cfg(feature = "tracing")]
    run_failed(function: &str) = DEBUG "larder.run.failed" in "larder::cache"
        "a run has failed"
        "The function returned an error, or has panicked where an old value is in the place of its result.";
    #[cfg(feature = "tracing")]
    fill_refused(function: &str) = DEBUG "larder.fill.refused" in "larder::cache"
        "a result is not stored"
        "An invalidation or a newer value had come between, or it has no stored form.";
    #[cfg(feature = "tracing")]
    stale_served(function: &str) = DEBUG "larder.stale.served" in "larder::cache"
        "a stale value is served"
        "A call is answered with a value past its life.";
    #[cfg(feature = "tracing")]
    lock_lost(lock: &str) = WARN "larder.lock.lost" in "larder::lock"
        "a lock was lost"
        "Somebody has lost a lock that he had not given back.";
    #[cfg(all(feature = "limit", feature = "tracing"))]
    limit_denied(limit: &str, by: &str) = DEBUG "larder.limit.denied" in "larder::limit"
        "a limit denied a call"
        "By `redis`, or by the `memory` of the process.";
}
