//! What is measured. Each case runs in a process of its own and prints one number per column.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contestants::redis::{
    BATCHES as BATCHES_IN_REDIS, FILLERS, Filler, GROUPS, Group, HAND_OFFS, HITS, HandOff,
    LIMITS as LIMITS_IN_REDIS, LOCKS as LOCKS_IN_REDIS, MISSES, READERS, Reader, STORMS, Storm,
    TAGGED as TAGGED_IN_REDIS, Tier, WRITERS, Writer,
};
use crate::contestants::{
    ALL, BATCHES, Calls, Contestant, Entry, LIMITS, LIMITS_BY_KEY, LOCKS, Limits, Locks, Many,
    TAGGED,
};
use crate::meter;
use crate::process;
use crate::values::{Article, Block, Profile, Shared, User};

mod batch;
mod cancelled;
mod hit;
mod instructions;
mod invalidation;
mod limit;
mod lock;
mod memory;
mod miss;
pub mod redis;
mod stampede;
pub mod storm;
mod tags;

use limit::{Allowed, Denied};
use lock::Pause;
pub use stampede::RUN as STAMPEDE_RUN;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Hit,
    Instructions,
    Miss,
    Stampede,
    Cancelled,
    Memory,
    Redis,
    Invalidation,
    Tags,
    Batch,
    Limit,
    Lock,
    Storm,
}

impl Kind {
    /// As on the command line.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What one process measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Case {
    HitShared,
    HitOwned,
    InstructionsHitShared,
    InstructionsHitOwned,
    InstructionsMiss,
    MissOneTask,
    MissManyTasks,
    MissAllocations,
    StampedeTime,
    StampedeHeap,
    Cancelled,
    MemoryNumber,
    MemoryBlock,
    RedisHitProfile,
    RedisHitArticle,
    RedisMiss,
    RedisHandOff,
    InstructionsRedisHitProfile,
    InstructionsRedisHitArticle,
    InvalidateOne,
    InvalidateTen,
    InvalidateHundred,
    PropagateIdle,
    PropagateLoaded,
    InvalidateTagOfHundred,
    InvalidateTagOfTenThousand,
    InvalidateTagOfHundredThousand,
    FillTagged,
    BatchInMemory,
    BatchPresent,
    BatchSomeMissing,
    BatchAllMissing,
    InstructionsBatchInMemory,
    InstructionsBatchPresent,
    InstructionsBatchAllMissing,
    LimitAllowed,
    LimitDenied,
    InstructionsLimitAllowed,
    InstructionsLimitDenied,
    LimitNewKeys,
    LimitMemory,
    LimitManyNewKeys,
    LimitManyMemory,
    LimitAllowedInRedis,
    LimitFirstDeniedInRedis,
    LimitDeniedInRedis,
    InstructionsLimitAllowedInRedis,
    LockInMemory,
    InstructionsLock,
    LockInRedis,
    InstructionsLockInRedis,
    LockContended,
    LockContendedAtOnce,
    StormUniform,
    StormZipf,
}

impl Case {
    /// The calls at scale 1 of a case whose instructions are counted.
    pub fn calls(self) -> f64 {
        match self {
            Case::InstructionsRedisHitProfile | Case::InstructionsLimitAllowedInRedis => 3_000.0,
            Case::InstructionsRedisHitArticle | Case::InstructionsLockInRedis => 1_000.0,
            Case::InstructionsLimitAllowed | Case::InstructionsLimitDenied => 400_000.0,
            Case::InstructionsBatchInMemory => 1_000.0,
            Case::InstructionsBatchPresent | Case::InstructionsBatchAllMissing => 100.0,
            _ => instructions::CALLS,
        }
    }

    /// Whether its figure is a count of instructions, which is the same every time.
    pub fn is_counted(self) -> bool {
        format!("{self:?}").starts_with("Instructions")
    }
}

pub struct Table {
    pub kind: Kind,
    pub title: &'static str,
    pub contestants: &'static [Entry],
    pub cases: &'static [(Case, &'static [Column])],
}

impl Table {
    pub fn takes_server(&self) -> bool {
        self.contestants.iter().any(|contestant| contestant.takes_server)
    }
}

pub enum Column {
    /// Shown as it is.
    Plain(&'static str),
    /// Shown with its ratio to the first row.
    Ratio(&'static str),
    /// Shown less the last row, which has no cache.
    Net(&'static str),
    /// Shown with what each tag adds to the first row, which has none.
    EachTag(&'static str),
}

use Column::{EachTag, Net, Plain, Ratio};

const HIT_COLUMNS: &[Column] = &[
    Ratio("CPU ns/op, 1 task, zipf"),
    Ratio("1 task, hot"),
    Ratio("Mops/s, 2 tasks, zipf"),
    Ratio("2 tasks, hot"),
    Ratio("64 tasks, zipf"),
    Ratio("64 tasks, hot"),
    Plain("allocations/op"),
];

const REDIS_HIT_COLUMNS: &[Column] = &[
    Ratio("kops/s, 1 task"),
    Ratio("64 tasks"),
    Ratio("256 tasks"),
    Ratio("CPU µs/op, 64 tasks"),
    Plain("allocations/op"),
];

const INVALIDATION_COLUMNS: &[Column] =
    &[Ratio("µs"), Ratio("CPU µs of the client"), Ratio("CPU µs of the server")];

const BATCH_COLUMNS: &[Column] = &[
    Ratio("µs"),
    Ratio("CPU µs of the client"),
    Ratio("of the server"),
    Plain("runs"),
    Plain("MGET"),
    Plain("GET"),
    Plain("SET"),
    Plain("EVALSHA"),
    Plain("reads of its sockets"),
];

const LIMIT_COLUMNS: &[Column] = &[
    Ratio("CPU ns/op, 1 task, hot"),
    Ratio("1 task, zipf"),
    Ratio("Mops/s, 64 tasks, hot"),
    Ratio("64 tasks, zipf"),
    Plain("allocations/op"),
];

const LIMIT_IN_REDIS_COLUMNS: &[Column] = &[
    Ratio("µs, 1 task"),
    Ratio("kops/s, 64 tasks"),
    Ratio("CPU µs/op, 64 tasks"),
    Ratio("µs/op of the server"),
    Plain("commands/op"),
    Plain("allocations/op"),
];

const STORM_COLUMNS: &[Column] = &[
    Ratio("runs in 100 ms, the most"),
    Ratio("runs"),
    Plain("% of calls that waited"),
    Plain("of those of the first 100 keys"),
    Plain("ms, 99 of 100"),
];

const GROUP_COLUMNS: &[Column] = &[Ratio("µs"), Ratio("µs of the server")];

pub const TABLES: &[Table] = &[
    Table {
        kind: Kind::Hit,
        title: "Hit, `Arc<User>`: one hot key, and zipf (s = 1) over 10,000 keys",
        contestants: ALL,
        cases: &[(Case::HitShared, HIT_COLUMNS)],
    },
    Table {
        kind: Kind::Hit,
        title: "Hit, `User` cloned: 6 allocations of each row are the clone",
        contestants: ALL,
        cases: &[(Case::HitOwned, HIT_COLUMNS)],
    },
    Table {
        kind: Kind::Instructions,
        title: "Instructions per call (callgrind, one round)",
        contestants: ALL,
        cases: &[
            (Case::InstructionsHitShared, &[Ratio("hit, `Arc<User>`")]),
            (Case::InstructionsHitOwned, &[Ratio("hit, `User`")]),
            (Case::InstructionsMiss, &[Ratio("miss, `Arc<User>`")]),
        ],
    },
    Table {
        kind: Kind::Miss,
        title: "Miss: distinct keys, an instant function; 7 allocations of each row are the value",
        contestants: ALL,
        cases: &[
            (Case::MissOneTask, &[Ratio("CPU µs/op, 1 task"), Ratio("kops/s, 1 task")]),
            (Case::MissManyTasks, &[Ratio("CPU µs/op, 64 tasks"), Ratio("kops/s, 64 tasks")]),
            (Case::MissAllocations, &[Plain("allocations/op")]),
        ],
    },
    Table {
        kind: Kind::Stampede,
        title: "Stampede: 10,000 tasks on one cold key, a function of 50 ms",
        contestants: ALL,
        cases: &[
            (
                Case::StampedeTime,
                &[Plain("runs"), Ratio("wall ms"), Ratio("CPU ms"), Ratio("peak RSS MiB")],
            ),
            (
                Case::StampedeHeap,
                &[Net("allocations/task beyond the task"), Ratio("peak heap MiB")],
            ),
        ],
    },
    Table {
        kind: Kind::Cancelled,
        title: "Cancelled: the leader of 100 waiters is aborted 100 ms into a function of 200 ms",
        contestants: ALL,
        cases: &[(
            Case::Cancelled,
            &[Plain("runs"), Plain("ok"), Plain("hung"), Ratio("ms from abort to last")],
        )],
    },
    Table {
        kind: Kind::Memory,
        title: "Memory: heap bytes per entry beyond key and value; 100,000 entries, capacity 200,000",
        contestants: ALL,
        cases: &[
            (Case::MemoryNumber, &[Ratio("value `u64`")]),
            (Case::MemoryBlock, &[Ratio("value `Arc` of 64 bytes")]),
        ],
    },
    Table {
        kind: Kind::Redis,
        title: "Redis hit, 150 bytes; CPU and instructions are the client's",
        contestants: HITS,
        cases: &[
            (Case::RedisHitProfile, REDIS_HIT_COLUMNS),
            (Case::InstructionsRedisHitProfile, &[Ratio("instructions/op")]),
        ],
    },
    Table {
        kind: Kind::Redis,
        title: "Redis hit, 10 KB",
        contestants: HITS,
        cases: &[
            (Case::RedisHitArticle, REDIS_HIT_COLUMNS),
            (Case::InstructionsRedisHitArticle, &[Ratio("instructions/op")]),
        ],
    },
    Table {
        kind: Kind::Redis,
        title: "Redis miss: distinct keys, an instant function, 150 bytes",
        contestants: MISSES,
        cases: &[(
            Case::RedisMiss,
            &[
                Plain("round trips/op"),
                Ratio("kops/s, 1 task"),
                Ratio("64 tasks"),
                Ratio("CPU µs/op, 64 tasks"),
                Ratio("of the server"),
            ],
        )],
    },
    Table {
        kind: Kind::Redis,
        title: "Redis hand-off: from the end of a run to who waits for it in another cache",
        contestants: HAND_OFFS,
        cases: &[(
            Case::RedisHandOff,
            &[
                Ratio("µs until it has the value"),
                Ratio("9 of 10"),
                Ratio("µs until it runs after an error"),
                Ratio("9 of 10"),
            ],
        )],
    },
    Table {
        kind: Kind::Invalidation,
        title: "Invalidation of 1 entry of 150 bytes, one after another",
        contestants: WRITERS,
        cases: &[(Case::InvalidateOne, INVALIDATION_COLUMNS)],
    },
    Table {
        kind: Kind::Invalidation,
        title: "Invalidation of 10 entries at once",
        contestants: WRITERS,
        cases: &[(Case::InvalidateTen, INVALIDATION_COLUMNS)],
    },
    Table {
        kind: Kind::Invalidation,
        title: "Invalidation of 100 entries at once",
        contestants: WRITERS,
        cases: &[(Case::InvalidateHundred, INVALIDATION_COLUMNS)],
    },
    Table {
        kind: Kind::Invalidation,
        title: "Propagation: until the memory of another process has no more of what is invalidated",
        contestants: READERS,
        cases: &[
            (Case::PropagateIdle, &[Ratio("µs, idle"), Ratio("99 of 100")]),
            (Case::PropagateLoaded, &[Ratio("µs, 64 tasks in each"), Ratio("99 of 100")]),
        ],
    },
    Table {
        kind: Kind::Tags,
        title: "Tags: instructions per call (callgrind, one round), brackets: what each tag adds",
        contestants: TAGGED,
        cases: &[
            (Case::InstructionsHitShared, &[EachTag("hit, `Arc<User>`")]),
            (Case::InstructionsHitOwned, &[EachTag("hit, `User`")]),
            (Case::InstructionsMiss, &[EachTag("miss, `Arc<User>`")]),
        ],
    },
    Table {
        kind: Kind::Tags,
        title: "Tags: heap bytes per entry beyond key and value; 100,000 entries, capacity 200,000",
        contestants: TAGGED,
        cases: &[
            (Case::MemoryNumber, &[Ratio("value `u64`")]),
            (Case::MemoryBlock, &[Ratio("value `Arc` of 64 bytes")]),
        ],
    },
    Table {
        kind: Kind::Tags,
        title: "Tags: Redis hit, 150 bytes, `local = false`",
        contestants: TAGGED_IN_REDIS,
        cases: &[
            (Case::RedisHitProfile, REDIS_HIT_COLUMNS),
            (Case::InstructionsRedisHitProfile, &[Ratio("instructions/op")]),
        ],
    },
    Table {
        kind: Kind::Tags,
        title: "Tags: invalidation of one with 100 entries",
        contestants: GROUPS,
        cases: &[(Case::InvalidateTagOfHundred, GROUP_COLUMNS)],
    },
    Table {
        kind: Kind::Tags,
        title: "Tags: invalidation of one with 10,000 entries",
        contestants: GROUPS,
        cases: &[(Case::InvalidateTagOfTenThousand, GROUP_COLUMNS)],
    },
    Table {
        kind: Kind::Tags,
        title: "Tags: invalidation of one with 100,000 entries",
        contestants: GROUPS,
        cases: &[(Case::InvalidateTagOfHundredThousand, GROUP_COLUMNS)],
    },
    Table {
        kind: Kind::Tags,
        title: "Tags: to store an entry that has one, 150 bytes",
        contestants: FILLERS,
        cases: &[(
            Case::FillTagged,
            &[
                Plain("kops/s, 64 tasks"),
                Plain("CPU µs/op of the client"),
                Plain("of the server"),
                Plain("bytes in Redis"),
            ],
        )],
    },
    Table {
        kind: Kind::Batch,
        title: "Batch of 100 in memory, `Arc<User>`",
        contestants: BATCHES,
        cases: &[
            (Case::BatchInMemory, &[Ratio("CPU µs"), Plain("allocations")]),
            (Case::InstructionsBatchInMemory, &[Ratio("instructions")]),
        ],
    },
    Table {
        kind: Kind::Batch,
        title: "Batch of 100 in Redis, 150 bytes each, `local = false`: none is missing",
        contestants: BATCHES_IN_REDIS,
        cases: &[
            (Case::BatchPresent, BATCH_COLUMNS),
            (Case::InstructionsBatchPresent, &[Ratio("instructions of the client")]),
        ],
    },
    Table {
        kind: Kind::Batch,
        title: "Batch of 100 in Redis: 30 are missing",
        contestants: BATCHES_IN_REDIS,
        cases: &[(Case::BatchSomeMissing, BATCH_COLUMNS)],
    },
    Table {
        kind: Kind::Batch,
        title: "Batch of 100 in Redis: all are missing",
        contestants: BATCHES_IN_REDIS,
        cases: &[
            (Case::BatchAllMissing, BATCH_COLUMNS),
            (Case::InstructionsBatchAllMissing, &[Ratio("instructions of the client")]),
        ],
    },
    Table {
        kind: Kind::Limit,
        title: "Limit in memory: allowed; one hot key, and zipf (s = 1) over 10,000 keys",
        contestants: LIMITS,
        cases: &[
            (Case::LimitAllowed, LIMIT_COLUMNS),
            (Case::InstructionsLimitAllowed, &[Ratio("instructions/op")]),
        ],
    },
    Table {
        kind: Kind::Limit,
        title: "Limit in memory: denied",
        contestants: LIMITS,
        cases: &[
            (Case::LimitDenied, LIMIT_COLUMNS),
            (Case::InstructionsLimitDenied, &[Ratio("instructions/op")]),
        ],
    },
    Table {
        kind: Kind::Limit,
        title: "Limit in memory: the first decision of each of many keys",
        contestants: LIMITS_BY_KEY,
        cases: &[
            (Case::LimitNewKeys, &[Ratio("CPU ns/op, 50,000 keys")]),
            (Case::LimitMemory, &[Ratio("heap MiB"), Plain("bytes per key")]),
            (Case::LimitManyNewKeys, &[Ratio("CPU ns/op, 1,000,000 keys")]),
            (Case::LimitManyMemory, &[Ratio("heap MiB")]),
        ],
    },
    Table {
        kind: Kind::Limit,
        title: "Limit in Redis: allowed, 1,000 keys",
        contestants: LIMITS_IN_REDIS,
        cases: &[
            (Case::LimitAllowedInRedis, LIMIT_IN_REDIS_COLUMNS),
            (Case::InstructionsLimitAllowedInRedis, &[Ratio("instructions/op of the client")]),
        ],
    },
    Table {
        kind: Kind::Limit,
        title: "Limit in Redis: denied for the first time, distinct keys",
        contestants: LIMITS_IN_REDIS,
        cases: &[(Case::LimitFirstDeniedInRedis, LIMIT_IN_REDIS_COLUMNS)],
    },
    Table {
        kind: Kind::Limit,
        title: "Limit in Redis: denied again, 1,000 keys",
        contestants: LIMITS_IN_REDIS,
        cases: &[(Case::LimitDeniedInRedis, LIMIT_IN_REDIS_COLUMNS)],
    },
    Table {
        kind: Kind::Lock,
        title: "Lock in memory: taken and given back",
        contestants: LOCKS,
        cases: &[
            (
                Case::LockInMemory,
                &[
                    Ratio("CPU ns/op, 1 task"),
                    Ratio("Mops/s, 64 tasks, 64 locks"),
                    Ratio("64 tasks, 1 lock"),
                    Plain("allocations/op"),
                ],
            ),
            (Case::InstructionsLock, &[Ratio("instructions/op")]),
        ],
    },
    Table {
        kind: Kind::Lock,
        title: "Lock in Redis: taken and given back, a lock for each task",
        contestants: LOCKS_IN_REDIS,
        cases: &[
            (Case::LockInRedis, LIMIT_IN_REDIS_COLUMNS),
            (Case::InstructionsLockInRedis, &[Ratio("instructions/op of the client")]),
        ],
    },
    Table {
        kind: Kind::Lock,
        title: "Lock in Redis: 8 want it, hold it for 5 ms, and do something else for 5 to 8 ms",
        contestants: LOCKS_IN_REDIS,
        cases: &[(
            Case::LockContended,
            &[
                Ratio("µs until another has it"),
                Ratio("99 of 100"),
                Ratio("commands/op"),
                Ratio("times it was had"),
                Plain("by one, the fewest"),
                Plain("the most"),
            ],
        )],
    },
    Table {
        kind: Kind::Lock,
        title: "Lock in Redis: 8 want it, hold it for 5 ms, and want it again at once",
        contestants: LOCKS_IN_REDIS,
        cases: &[(
            Case::LockContendedAtOnce,
            &[
                Ratio("commands/op"),
                Ratio("times it was had"),
                Plain("by one, the fewest"),
                Plain("the most"),
            ],
        )],
    },
    Table {
        kind: Kind::Storm,
        title: "Storm: 10,000 keys stored together, each read as often as any other",
        contestants: STORMS,
        cases: &[(Case::StormUniform, STORM_COLUMNS)],
    },
    Table {
        kind: Kind::Storm,
        title: "Storm: the same, read by zipf (s = 1)",
        contestants: STORMS,
        cases: &[(Case::StormZipf, STORM_COLUMNS)],
    },
];

/// Measures one case in this process. `scale` shortens what can be shortened.
pub fn run<C: Contestant>(case: Case, scale: f64) -> Vec<f64> {
    match case {
        Case::HitShared => on_two_workers(hit::hit::<C, Shared>(scale)),
        Case::HitOwned => on_two_workers(hit::hit::<C, User>(scale)),
        Case::InstructionsHitShared => on_this_thread(instructions::hits::<C, Shared>(scale)),
        Case::InstructionsHitOwned => on_this_thread(instructions::hits::<C, User>(scale)),
        Case::InstructionsMiss => on_this_thread(instructions::misses::<C>(scale)),
        Case::MissOneTask => on_two_workers(miss::time::<C>(1, scale)),
        Case::MissManyTasks => on_two_workers(miss::time::<C>(64, scale)),
        Case::MissAllocations => on_two_workers(miss::allocations::<C>(scale)),
        Case::StampedeTime => on_two_workers(stampede::time::<C>()),
        Case::StampedeHeap => on_two_workers(stampede::heap::<C>()),
        Case::Cancelled => on_two_workers(cancelled::cancelled::<C>()),
        Case::MemoryNumber => on_two_workers(memory::memory::<C, u64>()),
        Case::MemoryBlock => on_two_workers(memory::memory::<C, Arc<Block>>()),
        _ => Vec::new(),
    }
}

/// As `run`, with Redis.
pub fn run_in_redis<C: Tier + Calls<Article>>(case: Case, scale: f64) -> Vec<f64> {
    match case {
        Case::RedisHitArticle => on_two_workers(redis::hit::<C, Article>(scale)),
        Case::RedisMiss => on_two_workers(redis::miss::<C>(scale)),
        Case::InstructionsRedisHitArticle => {
            on_this_thread(redis::hits::<C, Article>(case.calls() * scale))
        }
        _ => run_tagged::<C>(case, scale),
    }
}

/// As `run`, of hits of one size.
pub fn run_tagged<C: Tier>(case: Case, scale: f64) -> Vec<f64> {
    match case {
        Case::RedisHitProfile => on_two_workers(redis::hit::<C, Profile>(scale)),
        Case::InstructionsRedisHitProfile => {
            on_this_thread(redis::hits::<C, Profile>(case.calls() * scale))
        }
        _ => Vec::new(),
    }
}

/// As `run`, with Redis and two caches.
pub fn run_hand_offs<C: HandOff>(scale: f64) -> Vec<f64> {
    on_two_workers(redis::hand_off::<C>(scale))
}

/// As `run`, of one who invalidates.
pub fn run_writer<C: Writer>(case: Case, scale: f64) -> Vec<f64> {
    let (entries, count) = match case {
        Case::InvalidateOne => (1, 4_000.0),
        Case::InvalidateTen => (10, 2_000.0),
        Case::InvalidateHundred => (100, 300.0),
        _ => return Vec::new(),
    };
    on_two_workers(invalidation::cost::<C>(entries, (count * scale).ceil() as u64))
}

/// As `run`, with another process that has in memory what this one invalidates.
pub fn run_reader<C: Reader>(case: Case, scale: f64) -> Vec<f64> {
    let is_loaded = case == Case::PropagateLoaded;
    if process::peer_of().is_some() {
        on_two_workers(invalidation::read::<C>(is_loaded));
        return Vec::new();
    }
    on_two_workers(invalidation::propagation::<C>(is_loaded, (1_000.0 * scale).ceil() as usize))
}

/// As `run`, of one who invalidates all entries of a group.
pub fn run_group<C: Group>(case: Case, scale: f64) -> Vec<f64> {
    let (members, count) = match case {
        Case::InvalidateTagOfHundred => (100, 50.0),
        Case::InvalidateTagOfTenThousand => (10_000, 5.0),
        Case::InvalidateTagOfHundredThousand => (100_000, 1.0),
        _ => return Vec::new(),
    };
    on_two_workers(tags::invalidation::<C>(members, (count * scale).ceil() as usize))
}

/// As `run`, of one who stores.
pub fn run_fills<C: Filler>(scale: f64) -> Vec<f64> {
    on_two_workers(tags::fills::<C>(scale))
}

/// As `run`, of many at once.
pub fn run_batches<C: Many>(case: Case, scale: f64) -> Vec<f64> {
    match case {
        Case::BatchInMemory => on_two_workers(batch::in_memory::<C>(scale)),
        Case::InstructionsBatchInMemory => {
            on_this_thread(batch::in_memory_counted::<C>((case.calls() * scale) as u64))
        }
        _ => Vec::new(),
    }
}

/// As `run_batches`, with Redis.
pub fn run_batches_in_redis<C: Many>(case: Case, scale: f64) -> Vec<f64> {
    let count = (case.calls() * scale) as u64;
    match case {
        Case::BatchPresent => on_two_workers(batch::in_redis::<C>(0, scale)),
        Case::BatchSomeMissing => on_two_workers(batch::in_redis::<C>(30, scale)),
        Case::BatchAllMissing => on_two_workers(batch::in_redis::<C>(100, scale)),
        Case::InstructionsBatchPresent => on_this_thread(batch::in_redis_counted::<C>(0, count)),
        Case::InstructionsBatchAllMissing => {
            on_this_thread(batch::in_redis_counted::<C>(100, count))
        }
        _ => Vec::new(),
    }
}

/// As `run`, of limits.
pub fn run_limits<C: Limits>(case: Case, scale: f64) -> Vec<f64> {
    let calls = case.calls() * scale;
    match case {
        Case::LimitAllowed => on_two_workers(limit::in_memory::<Allowed<C>>(scale)),
        Case::LimitDenied => on_two_workers(limit::in_memory::<Denied<C>>(scale)),
        Case::InstructionsLimitAllowed => on_this_thread(limit::counted::<Allowed<C>>(calls)),
        Case::InstructionsLimitDenied => on_this_thread(limit::counted::<Denied<C>>(calls)),
        Case::LimitNewKeys => on_two_workers(limit::new_keys::<C>(50_000)),
        Case::LimitMemory => on_two_workers(limit::memory::<C>(50_000)),
        Case::LimitManyNewKeys => on_two_workers(limit::new_keys::<C>(1_000_000)),
        Case::LimitManyMemory => on_two_workers(limit::memory::<C>(1_000_000)),
        _ => Vec::new(),
    }
}

/// As `run_limits`, with Redis.
pub fn run_limits_in_redis<C: Limits>(case: Case, scale: f64) -> Vec<f64> {
    match case {
        Case::LimitAllowedInRedis => on_two_workers(limit::in_redis::<Allowed<C>>(scale)),
        Case::LimitFirstDeniedInRedis => on_two_workers(limit::first_denials::<C>(scale)),
        Case::LimitDeniedInRedis => on_two_workers(limit::in_redis::<Denied<C>>(scale)),
        Case::InstructionsLimitAllowedInRedis => {
            on_this_thread(limit::counted::<Allowed<C>>(case.calls() * scale))
        }
        _ => Vec::new(),
    }
}

/// As `run`, of locks.
pub fn run_locks<C: Locks>(case: Case, scale: f64) -> Vec<f64> {
    match case {
        Case::LockInMemory => on_two_workers(lock::in_memory::<C>(scale)),
        Case::InstructionsLock => on_this_thread(lock::counted::<C>(case.calls() * scale)),
        _ => Vec::new(),
    }
}

/// As `run_locks`, with Redis.
pub fn run_locks_in_redis<C: Locks>(case: Case, scale: f64) -> Vec<f64> {
    match case {
        Case::LockInRedis => on_two_workers(lock::in_redis::<C>(scale)),
        Case::InstructionsLockInRedis => on_this_thread(lock::counted::<C>(case.calls() * scale)),
        Case::LockContended => on_two_workers(lock::contention::<C>(Pause::Short, scale)),
        Case::LockContendedAtOnce => on_two_workers(lock::contention::<C>(Pause::None, scale)),
        _ => Vec::new(),
    }
}

/// As `run`, with other processes that read the same keys.
pub fn run_storm<C: Storm>(case: Case) -> Vec<f64> {
    if process::peer_of().is_some() {
        on_two_workers(storm::peer::<C>(case));
        return Vec::new();
    }
    on_two_workers(storm::storm::<C>(case))
}

fn on_two_workers<T>(measurement: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(measurement)
}

fn on_this_thread<T>(measurement: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(measurement)
}

/// The figure that this part of all does not exceed.
fn quantile(figures: &mut [f64], part: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() as f64 * part) as usize]
}

/// Wall and CPU time since a moment.
struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { wall: Instant::now(), cpu: meter::cpu() }
    }

    fn wall(&self) -> Duration {
        self.wall.elapsed()
    }

    fn cpu(&self) -> Duration {
        meter::cpu() - self.cpu
    }
}

/// A task that does this many calls without a pause gives the others a turn.
const TURN: usize = 1024;

/// Numbers of bytes are shown in MiB.
const MIB: f64 = (1 << 20) as f64;
