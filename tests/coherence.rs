//! That no memory is behind for longer than was promised, whatever becomes of the network, and that
//! no writer leaves an old value, wherever it is dropped.

#![cfg(feature = "redis")]

mod common;

use std::{
    collections::HashMap,
    fmt, fs,
    future::poll_fn,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use common::{
    client::Clients,
    dice::Dice,
    member::{self, Member, say, variable},
    proxy::{Kind, Mode, Proxy},
    redis::RedisServer,
};
use larder::{__private::Change, Cache, Source, cached, invalidates};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    runtime::Runtime,
    task::{JoinHandle, JoinSet, yield_now},
    time::{Instant, sleep, sleep_until, timeout},
};

/// Plays a role in the fleet of another test.
#[test]
fn a_process_of_the_fleet() {
    let Some(role) = member::role() else {
        return;
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let front = Front::new(&variable::<String>("CHAOS_FRONT").unwrap());
        match role.as_str() {
            "reader" => play_reader(front).await,
            "writer" => play_writer(front).await,
            "newcomer" => play_newcomer(front).await,
            role => panic!("no role is called {role}"),
        }
    });
}

// Real processes, and a network that cuts, delays and swallows.

const KEYS: u64 = 500;

/// Less than the default, so that a fault is longer.
const MAX_STALENESS: Duration = Duration::from_millis(300);

/// The kernel's tick, at most.
const RESOLUTION: Duration = Duration::from_millis(10);

/// Of one command of the plain front: as larder's own default.
const BUDGET: Duration = Duration::from_millis(100);

/// What a process has in front of the database, which it reaches without the proxy.
enum Front {
    Larder(Clients),
    Plain(Arc<Plain>),
}

impl Front {
    fn new(name: &str) -> Arc<Self> {
        let (url, database): (String, String) =
            (variable("CHAOS_URL").unwrap(), variable("CHAOS_DATABASE").unwrap());
        let database = Clients::new(&database);
        Arc::new(match name {
            "larder" => {
                let builder = Cache::builder("chaos").redis(url).max_staleness(MAX_STALENESS);
                builder.build().unwrap().install().unwrap();
                Self::Larder(database)
            }
            "plain" => Self::Plain(Plain::start(url, database)),
            name => panic!("no front is called {name}"),
        })
    }

    fn database(&self) -> &Clients {
        match self {
            Self::Larder(database) => database,
            Self::Plain(plain) => &plain.database,
        }
    }

    /// The version, and whether it may be behind: it comes from memory or from a run that began
    /// before, or was found good by a stamp of a tag that this process knew.
    async fn read(&self, entry: Entry) -> (u64, bool) {
        match self {
            Self::Larder(database) => {
                let (version, source) = match entry {
                    Entry::Plain(id) => version(database, id).with_source().await,
                    Entry::Member(group, id) => {
                        member(database, group, group / SHELF, id).with_source().await
                    }
                    Entry::Exact(group) => {
                        exact(database, group, group / SHELF).with_source().await
                    }
                };
                let may_be_behind = match source {
                    Source::Memory { .. } | Source::Shared => true,
                    Source::Redis { .. } => matches!(entry, Entry::Member(..)),
                    _ => false,
                };
                (version, may_be_behind)
            }
            Self::Plain(plain) => (plain.read(entry.id()).await, true),
        }
    }

    /// Whether it is done for certain, of all entries of the key.
    async fn invalidate(&self, id: u64, by: By) -> bool {
        let database = match self {
            Self::Larder(database) => database,
            Self::Plain(plain) => return plain.publish(id).await,
        };
        let cache = Cache::current();
        let done = match by {
            _ if !is_tagged(id) => version(database, id).invalidate().await,
            By::Tag => cache.invalidate_tag(&format!("group:{id}")).await,
            By::WiderTag => cache.invalidate_tag(&format!("shelf:{}", id / SHELF)).await,
            By::Keys => {
                let mut invalidation = cache.invalidation().entry(exact(database, id, id / SHELF));
                for member in (0..MEMBERS).map(|of| self::member(database, id, id / SHELF, of)) {
                    invalidation = invalidation.entry(member);
                }
                match invalidation.await {
                    Ok(invalidation) => invalidation.complete().await,
                    Err(error) => Err(error),
                }
            }
        };
        done.is_ok()
    }

    /// Until everything that failed is done.
    async fn repair(&self, failed: &[(u64, u64)]) {
        match self {
            Self::Larder(_) => Cache::current().shutdown().await.unwrap(),
            Self::Plain(plain) => {
                for (id, _) in failed {
                    while !plain.publish(*id).await {
                        sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }
    }

    /// How many reads memory has answered.
    fn hits(&self) -> u64 {
        match self {
            Self::Larder(_) => {
                let stats = Cache::current().stats();
                let hits =
                    |function| stats.function(function).map_or(0, |row| row.cache_hits_memory);
                hits("version") + hits("member")
            }
            Self::Plain(plain) => plain.hits.load(SeqCst),
        }
    }
}

/// What is read of a key of the database.
#[derive(Debug, Clone, Copy)]
enum Entry {
    /// The only one, without tags.
    Plain(u64),
    /// One of several that have a tag.
    Member(u64, u64),
    /// One with the same tag that no memory has, and no stamp that is known decides.
    Exact(u64),
}

/// Of one in four keys there are several entries, which have tags.
fn is_tagged(id: u64) -> bool {
    id.is_multiple_of(4)
}

const MEMBERS: u64 = 3;

/// So many keys have another tag together.
const SHELF: u64 = 40;

impl Entry {
    fn any(dice: &mut Dice) -> Self {
        let (id, of) = (dice.below(KEYS), dice.below(MEMBERS + 1));
        if is_tagged(id) { Self::all_of(id).nth(of as usize).unwrap() } else { Self::Plain(id) }
    }

    fn all_of(id: u64) -> impl Iterator<Item = Self> {
        let members = if is_tagged(id) { MEMBERS } else { 0 };
        let other = if is_tagged(id) { Self::Exact(id) } else { Self::Plain(id) };
        (0..members).map(move |of| Self::Member(id, of)).chain([other])
    }

    fn id(self) -> u64 {
        let (Self::Plain(id) | Self::Member(id, _) | Self::Exact(id)) = self;
        id
    }
}

/// How the entries of a key that have tags are invalidated.
#[derive(Debug, Clone, Copy)]
enum By {
    Tag,
    /// One that entries of other keys have, too.
    WiderTag,
    Keys,
}

impl By {
    fn any(dice: &mut Dice) -> Self {
        [Self::Tag, Self::Tag, Self::WiderTag, Self::Keys][dice.below(4) as usize]
    }
}

/// What a writer has changed stands in the database under `version:<id>`.
#[cached(ttl = 600, key = "version:{id}", skip(database))]
async fn version(database: &Clients, id: u64) -> u64 {
    run(database, id).await
}

#[cached(
    ttl = 600,
    key = "member:{group}:{id}",
    tags("group:{group}", "shelf:{shelf}"),
    skip(database, shelf)
)]
async fn member(database: &Clients, group: u64, shelf: u64, id: u64) -> u64 {
    run(database, group).await
}

#[cached(
    ttl = 600,
    key = "exact:{group}",
    tags("shelf:{shelf}", "group:{group}"),
    tags_strict,
    local = false,
    skip(database, shelf)
)]
async fn exact(database: &Clients, group: u64, shelf: u64) -> u64 {
    run(database, group).await
}

/// One run in so many takes longer than memory may be behind: others come while it is under way.
const SLOW: u64 = 256;

static RUNS: AtomicU64 = AtomicU64::new(0);

/// Nothing changes any more.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

async fn run(database: &Clients, id: u64) -> u64 {
    let version = committed(database, id).await;
    if !IS_QUIET.load(SeqCst) && RUNS.fetch_add(1, SeqCst) % SLOW == SLOW - 1 {
        sleep(2 * MAX_STALENESS).await;
    }
    version
}

async fn committed(database: &Clients, id: u64) -> u64 {
    database.number(&["GET", &format!("version:{id}")]).await
}

/// A memory that messages remove entries from, and a subscription that is made again whenever its
/// connection is closed.
struct Plain {
    url: String,
    database: Clients,
    memory: Mutex<HashMap<u64, u64>>,
    hits: AtomicU64,
    /// For commands.
    connection: tokio::sync::Mutex<Option<BufReader<TcpStream>>>,
}

impl Plain {
    fn start(url: String, database: Clients) -> Arc<Self> {
        let plain = Arc::new(Self {
            url,
            database,
            memory: Mutex::default(),
            hits: AtomicU64::new(0),
            connection: tokio::sync::Mutex::default(),
        });
        tokio::spawn(Arc::clone(&plain).keep_subscribed());
        plain
    }

    async fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let address = self.url.strip_prefix("redis://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    }

    async fn keep_subscribed(self: Arc<Self>) {
        loop {
            // However it ended.
            let _ = self.listen().await;
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn listen(&self) -> io::Result<()> {
        let mut connection = self.connect().await?;
        connection.write_all(b"SUBSCRIBE plain\r\n").await?;
        let mut line = String::new();
        while connection.read_line(&mut line).await? > 0 {
            if let Some(id) = line.trim_end().strip_prefix("id:") {
                self.memory.lock().unwrap().remove(&id.parse().unwrap());
            }
            line.clear();
        }
        Ok(())
    }

    async fn read(&self, id: u64) -> u64 {
        let found = self.memory.lock().unwrap().get(&id).copied();
        if let Some(version) = found {
            self.hits.fetch_add(1, SeqCst);
            return version;
        }
        let version = committed(&self.database, id).await;
        self.memory.lock().unwrap().insert(id, version);
        version
    }

    async fn publish(&self, id: u64) -> bool {
        let mut connection = self.connection.lock().await;
        let published = async {
            if connection.is_none() {
                *connection = Some(self.connect().await?);
            }
            let connection = connection.as_mut().unwrap();
            let command = format!("PUBLISH plain id:{id}\r\n");
            connection.write_all(command.as_bytes()).await?;
            connection.read_line(&mut String::new()).await
        };
        let is_published = matches!(timeout(BUDGET, published).await, Ok(Ok(1..)));
        if !is_published {
            *connection = None;
        }
        is_published
    }
}

/// When the invalidation of each version was complete, in a file that all processes have open.
#[derive(Debug)]
struct Ledger(fs::File);

/// Of one key, at most.
const VERSIONS: u64 = 16 * 1024;

/// A moment, and again: who finds them different has read half of it.
const MOMENT: u64 = 16;

/// A read that is further behind counts by so many versions.
const AHEAD: u64 = 64;

impl Ledger {
    fn create(dir: &Path) -> String {
        let path = dir.join("ledger");
        let file = fs::File::create(&path).unwrap();
        file.set_len(KEYS * VERSIONS * MOMENT).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn open() -> Self {
        let path: String = variable("CHAOS_LEDGER").unwrap();
        Self(fs::OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    fn completed(&self, id: u64, version: u64) {
        assert!(version < VERSIONS - AHEAD);
        let at = (id * VERSIONS + version) * MOMENT;
        self.0.write_all_at(&now().to_be_bytes().repeat(2), at).unwrap();
    }

    /// For how long the version had been invalidated when the read of it started, at least: its
    /// message was published before the invalidation was complete.
    fn staleness(&self, id: u64, version: u64, started: u64) -> Duration {
        let mut bytes = [0; (AHEAD * MOMENT) as usize];
        let half = MOMENT as usize / 2;
        loop {
            self.0.read_exact_at(&mut bytes, (id * VERSIONS + version + 1) * MOMENT).unwrap();
            let mut moments = bytes.chunks(2 * half).map(|moment| moment.split_at(half));
            if moments.all(|(one, other)| one == other) {
                break;
            }
        }
        let moments = bytes.chunks(2 * half);
        let moments = moments.map(|moment| u64::from_be_bytes(moment[..half].try_into().unwrap()));
        // Zero where it is not complete.
        let first = moments.filter(|moment| *moment > 0).min();
        Duration::from_nanos(first.map_or(0, |moment| started.saturating_sub(moment)))
    }
}

/// In nanoseconds; the same for all processes of this machine.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(Duration::try_from(now).unwrap().as_nanos()).unwrap()
}

/// What the tasks of a reading process have seen.
#[derive(Debug, Default)]
struct Seen {
    reads: AtomicU64,
    /// Reads of what was invalidated at all.
    behind: AtomicU64,
    /// Of these, reads of an entry that has tags.
    tagged: AtomicU64,
    /// Of all, reads of what nobody may be behind with.
    inexcusable: AtomicU64,
    /// Reads of what may not be read any more.
    stale: AtomicU64,
    /// In nanoseconds.
    worst: AtomicU64,
    is_over: AtomicBool,
}

/// Reads until it is ordered to `stop`, and says `read <how many> <from memory> <behind> <of these
/// tagged> <of all inexcusable> <stale> <the worst staleness in ns>`. Ordered to `look` it says `left
/// <entries whose newest version it does not read>`.
async fn play_reader(front: Arc<Front>) {
    let (seen, ledger) = (Arc::new(Seen::default()), Arc::new(Ledger::open()));
    let mut orders = member::orders();
    assert_eq!(orders.recv().await.as_deref(), Some("go"));
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (front, seen, ledger) = (Arc::clone(&front), Arc::clone(&seen), Arc::clone(&ledger));
        let mut dice = Dice::new(variable("CHAOS_NUMBER").unwrap(), task);
        tasks.spawn(async move {
            while !seen.is_over.load(SeqCst) {
                for _ in 0..4 {
                    seen.read(&front, &ledger, Entry::any(&mut dice)).await;
                }
                sleep(Duration::from_millis(3)).await;
            }
        });
    }
    assert_eq!(orders.recv().await.as_deref(), Some("stop"));
    seen.is_over.store(true, SeqCst);
    tasks.join_all().await;
    let Seen { reads, behind, tagged, inexcusable, stale, worst, .. } = &*seen;
    let [reads, behind, tagged, inexcusable, stale, worst] =
        [reads, behind, tagged, inexcusable, stale, worst].map(|number| number.load(SeqCst));
    let hits = front.hits();
    say(&format!("read {reads} {hits} {behind} {tagged} {inexcusable} {stale} {worst}"));
    look(&front, orders.recv().await).await;
    // Ends with the one that gives the orders.
    orders.recv().await;
}

impl Seen {
    async fn read(&self, front: &Front, ledger: &Ledger, entry: Entry) {
        let started = now();
        let (version, may_be_behind) = front.read(entry).await;
        let staleness = ledger.staleness(entry.id(), version, started);
        let is_behind = !staleness.is_zero();
        self.reads.fetch_add(1, SeqCst);
        self.behind.fetch_add(u64::from(is_behind), SeqCst);
        self.tagged.fetch_add(u64::from(is_behind && is_tagged(entry.id())), SeqCst);
        self.inexcusable.fetch_add(u64::from(is_behind && !may_be_behind), SeqCst);
        self.stale.fetch_add(u64::from(staleness > MAX_STALENESS + RESOLUTION), SeqCst);
        self.worst.fetch_max(staleness.as_nanos() as u64, SeqCst);
    }
}

async fn look(front: &Front, order: Option<String>) {
    assert_eq!(order.as_deref(), Some("look"));
    IS_QUIET.store(true, SeqCst);
    let mut left = 0;
    for id in 0..KEYS {
        let newest = committed(front.database(), id).await;
        for entry in Entry::all_of(id) {
            left += u64::from(front.read(entry).await.0 != newest);
        }
    }
    say(&format!("left {left}"));
}

/// Looks, with nothing in memory, so that Redis says what it has.
async fn play_newcomer(front: Arc<Front>) {
    let mut orders = member::orders();
    if let Front::Larder(database) = &*front {
        // Until it is connected: nobody writes this one.
        let ready = || exact(database, KEYS, KEYS / SHELF).with_source();
        while !matches!(ready().await, (0, Source::Redis { .. })) {}
    }
    look(&front, orders.recv().await).await;
    // Ends with the one that gives the orders.
    orders.recv().await;
}

/// Writes until it is ordered to `stop`, repairs, and says `wrote <how often> <how many were not
/// complete at once>`. Ordered to `look` as a reader does.
async fn play_writer(front: Arc<Front>) {
    let (is_over, ledger) = (Arc::new(AtomicBool::new(false)), Arc::new(Ledger::open()));
    let mut orders = member::orders();
    assert_eq!(orders.recv().await.as_deref(), Some("go"));
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let (front, is_over, ledger) =
            (Arc::clone(&front), Arc::clone(&is_over), Arc::clone(&ledger));
        let mut dice = Dice::new(variable("CHAOS_NUMBER").unwrap(), task);
        tasks.spawn(async move {
            let (mut writes, mut failed) = (0, Vec::new());
            while !is_over.load(SeqCst) {
                let id = dice.below(KEYS);
                let version = front.database().number(&["INCR", &format!("version:{id}")]).await;
                writes += 1;
                if front.invalidate(id, By::any(&mut dice)).await {
                    ledger.completed(id, version);
                } else {
                    failed.push((id, version));
                }
                sleep(Duration::from_millis(dice.below(40))).await;
            }
            (writes, failed)
        });
    }
    assert_eq!(orders.recv().await.as_deref(), Some("stop"));
    is_over.store(true, SeqCst);
    let (writes, failed): (Vec<u64>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    let failed = failed.concat();
    front.repair(&failed).await;
    for (id, version) in &failed {
        ledger.completed(*id, *version);
    }
    say(&format!("wrote {} {}", writes.iter().sum::<u64>(), failed.len()));
    look(&front, orders.recv().await).await;
    // Ends with the one that gives the orders.
    orders.recv().await;
}

/// What came of a run.
#[derive(Debug, Default)]
struct Outcome {
    faults: u64,
    writes: u64,
    incomplete: u64,
    reads: u64,
    hits: u64,
    behind: u64,
    tagged: u64,
    inexcusable: u64,
    stale: u64,
    worst: Duration,
    /// Entries, summed over the processes.
    left: u64,
}

impl fmt::Display for Outcome {
    #[expect(clippy::cast_precision_loss, reason = "a ratio is shown with three digits")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, writes, incomplete, reads, behind, tagged, stale, left, .. } = self;
        let (hits, worst) = (100.0 * self.hits as f64 / *reads as f64, self.worst.as_secs_f64());
        let limit = (MAX_STALENESS + RESOLUTION).as_secs_f64();
        write!(f, "{faults} faults, {writes} invalidations ({incomplete} incomplete at first), ")?;
        write!(f, "{reads} reads, {hits:.1} % from memory, {behind} behind ({tagged} tagged), ")?;
        write!(f, "worst {worst:.3} s, {} inexcusable, ", self.inexcusable)?;
        write!(f, "{stale} over {limit:.3} s, {left} left stale")
    }
}

/// Two readers and two writers, each behind a proxy of its own, for so long and until each fault
/// has been.
fn chaos(front: &str, lasts: Duration) -> Outcome {
    let server = RedisServer::start();
    let ledger = Ledger::create(server.dir());
    let runtime = Runtime::new().unwrap();
    let proxies: Vec<_> =
        (0..5).map(|_| runtime.block_on(async { Proxy::before(server.port()) })).collect();
    let start = |(number, proxy): (usize, &Proxy)| {
        let variables = [
            ("CHAOS_FRONT", front),
            ("CHAOS_URL", &proxy.url()),
            ("CHAOS_DATABASE", &server.url()),
            ("CHAOS_LEDGER", &ledger),
            ("CHAOS_NUMBER", &number.to_string()),
        ];
        let role = match number {
            0 | 1 => "reader",
            2 | 3 => "writer",
            _ => "newcomer",
        };
        Member::start(role, &variables)
    };
    let mut fleet: Vec<_> = proxies.iter().enumerate().map(start).collect();
    let mut newcomer = fleet.pop().unwrap();
    for member in &mut fleet {
        member.order("go");
    }
    let processes: Vec<_> = proxies.iter().zip(&fleet).collect();
    let faults = runtime.block_on(rage(&processes, lasts));
    let mut outcome = Outcome { faults, ..Outcome::default() };
    let (readers, writers) = fleet.split_at_mut(2);
    for writer in &mut *writers {
        writer.order("stop");
    }
    for writer in &*writers {
        let wrote = writer.hear_numbers("wrote");
        outcome.writes += wrote[0];
        outcome.incomplete += wrote[1];
    }
    // Quiet: nothing changes any more, and readers go on.
    std::thread::sleep(Duration::from_secs(1));
    for reader in &mut *readers {
        reader.order("stop");
    }
    for reader in &*readers {
        let read = reader.hear_numbers("read");
        outcome.reads += read[0];
        outcome.hits += read[1];
        outcome.behind += read[2];
        outcome.tagged += read[3];
        outcome.inexcusable += read[4];
        outcome.stale += read[5];
        outcome.worst = outcome.worst.max(Duration::from_nanos(read[6]));
    }
    // First who stores what it reads only where there is nothing.
    newcomer.order("look");
    outcome.left = newcomer.hear_numbers("left")[0];
    for member in &mut fleet {
        member.order("look");
    }
    outcome.left += fleet.iter().map(|member| member.hear_numbers("left")[0]).sum::<u64>();
    outcome
}

/// What happens to some of the processes.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// To their connections of these kinds.
    Network(&'static [Kind], Mode),
    /// Messages come late, but not so late that it is noticed, and then no more.
    Dying,
    /// They stand still: no task of theirs notices anything.
    Frozen,
}

impl Fault {
    async fn begin(self, processes: &[(&Proxy, &Member)]) {
        let network = |kinds: &[Kind], mode| {
            for (proxy, _) in processes {
                for kind in kinds {
                    proxy.set_for(*kind, mode);
                }
            }
        };
        match self {
            Self::Network(kinds, mode) => network(kinds, mode),
            Self::Dying => {
                network(&[Kind::Backplane], Mode::Delay(2 * MAX_STALENESS / 5));
                sleep(MAX_STALENESS).await;
                network(&[Kind::Backplane], Mode::Lose);
            }
            Self::Frozen => {
                for (_, member) in processes {
                    member.freeze();
                }
            }
        }
    }

    fn end(self, processes: &[(&Proxy, &Member)]) {
        for (proxy, member) in processes {
            match self {
                Self::Network(..) | Self::Dying => proxy.set(Mode::Pass),
                Self::Frozen => member.thaw(),
            }
        }
    }
}

/// One fault after another, all of them in each pass and in another order, the same in every run.
/// Says how many.
async fn rage(processes: &[(&Proxy, &Member)], lasts: Duration) -> u64 {
    let (began, mut dice, mut count) = (Instant::now(), Dice::new(7, 7), 0);
    let readers = [&processes[..1], &processes[1..2], &processes[..2]];
    let all = [readers[0], readers[1], readers[2], &processes[2..3], &processes[2..], processes];
    while count == 0 || began.elapsed() < lasts {
        let mut faults = vec![Fault::Dying, Fault::Dying, Fault::Frozen, Fault::Frozen];
        for kinds in [&[Kind::Data][..], &[Kind::Backplane], &[Kind::Data, Kind::Backplane]] {
            // So late that it is given up, or nearly.
            let late = Mode::Delay(Duration::from_millis(20 + dice.below(230)));
            let modes = [Mode::Cut, Mode::BlackHole, Mode::Lose, late];
            faults.extend(modes.map(|mode| Fault::Network(kinds, mode)));
        }
        let mut faults: Vec<_> =
            faults.into_iter().flat_map(|fault| [(fault, true), (fault, false)]).collect();
        dice.shuffle(&mut faults);
        for (fault, is_brief) in faults {
            let some = match fault {
                Fault::Network(..) => all[dice.below(6) as usize],
                Fault::Dying | Fault::Frozen => readers[dice.below(3) as usize],
            };
            // One that heals before anybody has looked, and one that outlasts all trust.
            let (wrong, right) = if is_brief {
                (10 + dice.below(50), 50 + dice.below(150))
            } else {
                (400 + dice.below(400), 100 + dice.below(200))
            };
            fault.begin(some).await;
            sleep(Duration::from_millis(wrong)).await;
            fault.end(some);
            sleep(Duration::from_millis(right)).await;
            count += 1;
        }
    }
    count
}

/// Nothing but each fault once, unless `CHAOS_SECONDS` says longer.
fn chaos_lasts() -> Duration {
    Duration::from_secs(variable("CHAOS_SECONDS").unwrap_or(0))
}

#[test]
fn no_memory_is_behind_for_longer_than_max_staleness_whatever_the_network_does() {
    let outcome = chaos("larder", chaos_lasts());
    println!("larder: {outcome}");
    assert_eq!((outcome.stale, outcome.left), (0, 0));
    // What is neither from memory nor by a stamp that was known is not behind at all.
    assert_eq!(outcome.inexcusable, 0);
    assert!(outcome.hits > 0 && outcome.behind > 0 && outcome.incomplete > 0, "{outcome}");
    assert!(outcome.tagged > 0, "{outcome}");
}

#[test]
fn the_same_faults_leave_a_memory_stale_that_only_subscribes_again() {
    let outcome = chaos("plain", chaos_lasts());
    println!("plain: {outcome}");
    assert!(outcome.stale > 0, "{outcome}");
}

// Writers that are dropped.

/// Writers that are dropped; some of those that are to be come to their end before.
const DROPPED: u64 = 10_000;

/// Side by side; each has a key of its own.
const AT_ONCE: u64 = 250;

/// How a writer invalidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// `Cache::invalidation`
    Explicit,
    /// The same, with `hold`.
    ExplicitHeld,
    /// `invalidate()` after the change, in a guard that does it if the writer is dropped.
    Guarded,
    /// What `#[invalidates]` puts around a function.
    Attribute,
    /// The same, with `hold`.
    AttributeHeld,
    /// What `#[updates]` puts around a function.
    Updates,
    /// `Cache::invalidation`, of a tag.
    ExplicitTag,
    /// The same, with `hold`.
    ExplicitTagHeld,
    /// `invalidate_tag` in a guard, as above.
    GuardedTag,
    /// `#[invalidates]` of a tag.
    AttributeTag,
    /// The same, with `hold`.
    AttributeTagHeld,
}

/// Those of a tag are behind the others.
const FORMS: [Form; 11] = [
    Form::Explicit,
    Form::ExplicitHeld,
    Form::Guarded,
    Form::Attribute,
    Form::AttributeHeld,
    Form::Updates,
    Form::ExplicitTag,
    Form::ExplicitTagHeld,
    Form::GuardedTag,
    Form::AttributeTag,
    Form::AttributeTagHeld,
];

impl Form {
    /// For one of all writers of such a row.
    fn any(id: u64, dice: &mut Dice) -> Self {
        let count = if is_in_pair(id) { FORMS.len() } else { 6 };
        FORMS[dice.below(count as u64) as usize]
    }

    fn is_held(self) -> bool {
        matches!(
            self,
            Self::ExplicitHeld
                | Self::AttributeHeld
                | Self::Updates
                | Self::ExplicitTagHeld
                | Self::AttributeTagHeld
        )
    }
}

/// Two of three rows have a tag, each with another one: writers of both are there at once.
fn is_in_pair(id: u64) -> bool {
    !id.is_multiple_of(3)
}

fn pair_of(id: u64) -> u64 {
    id / 3
}

/// Longer than any COMMIT is on its way here; `change_pair_held` says the same.
const HOLD: Duration = Duration::from_secs(3);

/// The newest version of each row that is committed.
type Rows = Arc<Vec<AtomicU64>>;

/// One process of the fleet, with a memory and connections of its own.
struct Node {
    cache: Cache,
    rows: Rows,
}

impl Node {
    fn new(server: &RedisServer, rows: &Rows) -> Arc<Self> {
        let cache = Cache::builder("writers").redis(server.url()).lease(HOLD);
        // No fact here is about the budget, and the machine may be busy.
        let cache = cache.redis_budget(Duration::from_secs(10)).build().unwrap();
        Arc::new(Self { cache, rows: Arc::clone(rows) })
    }

    #[cached(ttl = 600, key = "row:{id}", cache = self.cache, skip(self))]
    async fn row(&self, id: u64) -> u64 {
        self.run(id).await
    }

    #[cached(
        ttl = 600,
        key = "paired:{id}",
        tags("pair:{pair}", "rows"),
        cache = self.cache,
        skip(self, pair)
    )]
    async fn paired(&self, id: u64, pair: u64) -> u64 {
        self.run(id).await
    }

    async fn run(&self, id: u64) -> u64 {
        let version = self.committed(id);
        // The answer is on its way.
        sleep(Duration::from_millis(id % 3)).await;
        version
    }

    async fn read(&self, id: u64) -> u64 {
        if is_in_pair(id) { self.paired(id, pair_of(id)).await } else { self.row(id).await }
    }

    fn entry(&self, id: u64) -> larder::Entry<u64> {
        if is_in_pair(id) {
            self.paired(id, pair_of(id)).into_entry()
        } else {
            self.row(id).into_entry()
        }
    }

    async fn invalidate(&self, id: u64, is_tag: bool) {
        let invalidated = if is_tag {
            self.cache.invalidate_tag(&format!("pair:{}", pair_of(id))).await
        } else {
            self.entry(id).invalidate().await
        };
        invalidated.unwrap();
    }

    /// All at once.
    async fn rows(self: &Arc<Self>, ids: Range<u64>) -> Vec<u64> {
        let read = |id| {
            let node = Arc::clone(self);
            tokio::spawn(async move { node.read(id).await })
        };
        let mut versions = Vec::new();
        for reading in ids.map(read).collect::<Vec<_>>() {
            versions.push(reading.await.unwrap());
        }
        versions
    }

    fn committed(&self, id: u64) -> u64 {
        self.rows[id as usize].load(SeqCst)
    }
}

/// A transaction that changes a row. Once its COMMIT was sent the database applies that by itself,
/// whether or not anybody still waits for the answer.
struct Transaction {
    rows: Rows,
    id: u64,
    version: u64,
    is_sent: AtomicBool,
    applying: Mutex<Option<JoinHandle<()>>>,
}

impl Transaction {
    async fn commit(self: &Arc<Self>, takes: Duration) {
        self.is_sent.store(true, SeqCst);
        let (transaction, (done, answer)) = (Arc::clone(self), tokio::sync::oneshot::channel());
        let applying = tokio::spawn(async move {
            sleep(takes).await;
            transaction.apply();
            // Whoever sent it may be gone.
            let _ = done.send(());
        });
        *self.applying.lock().unwrap() = Some(applying);
        answer.await.unwrap();
    }

    fn apply(&self) {
        self.rows[self.id as usize].fetch_max(self.version, SeqCst);
    }

    fn is_applied(&self) -> bool {
        self.rows[self.id as usize].load(SeqCst) == self.version
    }
}

/// Invalidates in the background if the writer is dropped.
struct Guard {
    node: Arc<Node>,
    id: u64,
    is_tag: bool,
    is_armed: bool,
    /// What is under way.
    invalidating: Arc<Mutex<JoinSet<()>>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (node, id, is_tag) = (Arc::clone(&self.node), self.id, self.is_tag);
        if self.is_armed {
            self.invalidating
                .lock()
                .unwrap()
                .spawn(async move { node.invalidate(id, is_tag).await });
        }
    }
}

/// One writer of one row.
struct Writer {
    node: Arc<Node>,
    form: Form,
    transaction: Arc<Transaction>,
    /// How often it waits for the database before its COMMIT.
    steps: u64,
    /// How long its COMMIT takes.
    takes: Duration,
    guarded: Arc<Mutex<JoinSet<()>>>,
}

impl Writer {
    async fn change(&self) {
        for _ in 0..self.steps {
            yield_now().await;
        }
        self.transaction.commit(self.takes).await;
    }

    #[invalidates(tag("pair:{pair}"), cache = self.node.cache)]
    async fn change_pair(&self, pair: u64) {
        self.change().await;
    }

    #[invalidates(tag("pair:{pair}"), hold = "3s", cache = self.node.cache)]
    async fn change_pair_held(&self, pair: u64) {
        self.change().await;
    }

    async fn write(&self) {
        let Transaction { id, version, .. } = *self.transaction;
        let row = || self.node.entry(id);
        match self.form {
            Form::Explicit | Form::ExplicitHeld | Form::ExplicitTag | Form::ExplicitTagHeld => {
                let invalidation = self.node.cache.invalidation();
                let mut invalidation = match self.form {
                    Form::Explicit | Form::ExplicitHeld => invalidation.entry(row()),
                    _ => invalidation.tag(&format!("pair:{}", pair_of(id))),
                };
                if self.form.is_held() {
                    invalidation = invalidation.hold(HOLD);
                }
                let invalidation = invalidation.await.unwrap();
                self.change().await;
                invalidation.complete().await.unwrap();
            }
            Form::Guarded | Form::GuardedTag => {
                let (node, invalidating) = (Arc::clone(&self.node), Arc::clone(&self.guarded));
                let is_tag = self.form == Form::GuardedTag;
                let mut guard = Guard { node, id, is_tag, is_armed: true, invalidating };
                self.change().await;
                guard.node.invalidate(id, is_tag).await;
                guard.is_armed = false;
            }
            Form::AttributeTag => self.change_pair(pair_of(id)).await,
            Form::AttributeTagHeld => self.change_pair_held(pair_of(id)).await,
            Form::Attribute | Form::AttributeHeld => {
                let mut change = Change::new();
                if self.form.is_held() {
                    change = change.hold(HOLD.as_millis() as u64);
                }
                change.target(row());
                change.begin().await;
                self.change().await;
                change.succeeded().await;
            }
            Form::Updates => {
                let mut change = Change::new();
                let entry = change.updates(row());
                change.begin().await;
                self.change().await;
                change.put(&entry, version);
                change.succeeded().await;
            }
        }
    }

    /// Drops the writer where it waits for the `awaits`-th time, or a moment later. Whether it had
    /// come to its end before.
    async fn write_until(&self, mut awaits: u64, lingers: Option<Duration>) -> bool {
        let mut writing = Box::pin(self.write());
        let has_ended = poll_fn(|cx| {
            let is_ready = writing.as_mut().poll(cx).is_ready();
            awaits = awaits.saturating_sub(1);
            if is_ready || awaits == 0 { Poll::Ready(is_ready) } else { Poll::Pending }
        });
        let has_ended = has_ended.await;
        match lingers {
            Some(lingers) if !has_ended => sleep(lingers).await,
            _ => {}
        }
        if !self.form.is_held() && self.transaction.is_sent.load(SeqCst) {
            // Nothing but a hold covers a COMMIT that is applied later than the invalidation.
            self.transaction.apply();
        }
        drop(writing);
        has_ended
    }
}

/// How many writers of a form there were.
#[derive(Debug, Default)]
struct Tally {
    ended: u64,
    dropped_before_commit: u64,
    /// The database had applied it by then.
    dropped_after_commit: u64,
    /// The database applied it later.
    dropped_in_commit: u64,
}

impl Tally {
    fn dropped(&self) -> u64 {
        self.dropped_before_commit + self.dropped_after_commit + self.dropped_in_commit
    }
}

/// Dropped at any await of its own, and of those inside of larder. What is committed is, at the
/// end, what every process reads: a writer that is held may be dropped while its COMMIT is on its
/// way, for as long as the hold; of any other the COMMIT has to be applied when it is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_dropped_at_any_await_leaves_no_old_value_at_rest() {
    let server = RedisServer::start();
    let rows: Rows = Arc::new((0..3 * DROPPED).map(|_| AtomicU64::new(1)).collect());
    let [writing, reading] = [(); 2].map(|()| Node::new(&server, &rows));
    let mut tallies: HashMap<Form, Tally> = HashMap::new();
    let (mut dice, mut next) = (Dice::new(1, 1), 0);
    while tallies.values().map(Tally::dropped).sum::<u64>() < DROPPED {
        let ids = next..next + AT_ONCE;
        next = ids.end;
        let over = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for node in [&writing, &reading] {
            assert_eq!(node.rows(ids.clone()).await, [1; AT_ONCE as usize]);
            for id in ids.clone() {
                readers.spawn(read_on(Arc::clone(node), id, Arc::clone(&over), 1 + dice.below(6)));
            }
        }
        let guarded: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let mut writers = JoinSet::new();
        for id in ids.clone() {
            let transaction = Transaction {
                rows: Arc::clone(&rows),
                id,
                version: 2,
                is_sent: AtomicBool::new(false),
                applying: Mutex::default(),
            };
            let writer = Writer {
                node: Arc::clone(&writing),
                form: Form::any(id, &mut dice),
                transaction: Arc::new(transaction),
                steps: dice.below(3),
                takes: Duration::from_millis(dice.below(30)),
                guarded: Arc::clone(&guarded),
            };
            let awaits = 1 + dice.below(5);
            let lingers = dice.below(4);
            let lingers = (lingers > 0).then(|| Duration::from_millis(lingers - 1));
            writers.spawn(async move {
                let has_ended = writer.write_until(awaits, lingers).await;
                (has_ended, writer.transaction.is_applied(), writer)
            });
        }
        for (has_ended, was_applied, writer) in writers.join_all().await {
            let transaction = &writer.transaction;
            let applying = transaction.applying.lock().unwrap().take();
            if let Some(applying) = applying {
                applying.await.unwrap();
            }
            let tally = tallies.entry(writer.form).or_default();
            *match (has_ended, transaction.is_applied()) {
                (true, _) => &mut tally.ended,
                (false, false) => &mut tally.dropped_before_commit,
                (false, true) if was_applied => &mut tally.dropped_after_commit,
                (false, true) => &mut tally.dropped_in_commit,
            } += 1;
        }
        let invalidating = std::mem::take(&mut *guarded.lock().unwrap());
        invalidating.join_all().await;
        while writing.cache.stats().redis.pending_repairs > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let repaired = Instant::now();
        over.store(true, SeqCst);
        readers.join_all().await;
        check(&writing, &reading, &Node::new(&server, &rows), ids, repaired).await;
    }
    // Nothing is held any more.
    let last = Instant::now();
    sleep_until(last + HOLD + RESOLUTION).await;
    let fresh = Node::new(&server, &rows);
    for first in (0..next).step_by(AT_ONCE as usize) {
        check(&writing, &reading, &fresh, first..first + AT_ONCE, last).await;
    }
    assert_eq!(tallies.len(), FORMS.len());
    for (form, tally) in &tallies {
        println!("{form:?}: {tally:?}");
        assert!(tally.dropped_before_commit > 0 && tally.dropped_after_commit > 0);
        assert_eq!(tally.dropped_in_commit > 0, form.is_held());
    }
}

async fn read_on(node: Arc<Node>, id: u64, over: Arc<AtomicBool>, rests: u64) {
    while !over.load(SeqCst) {
        node.read(id).await;
        sleep(Duration::from_millis(rests)).await;
    }
}

/// What was committed is read by the process that wrote, by one that comes anew, and by another as
/// soon as messages have reached it.
async fn check(
    writing: &Arc<Node>,
    reading: &Arc<Node>,
    fresh: &Arc<Node>,
    ids: Range<u64>,
    repaired: Instant,
) {
    let committed: Vec<_> = ids.clone().map(|id| writing.committed(id)).collect();
    assert_eq!(writing.rows(ids.clone()).await, committed);
    assert_eq!(fresh.rows(ids.clone()).await, committed);
    if reading.rows(ids.clone()).await != committed {
        // The default.
        sleep_until(repaired + Duration::from_secs(1) + RESOLUTION).await;
        assert_eq!(reading.rows(ids).await, committed);
    }
}
