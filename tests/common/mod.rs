//! A remote tier that does what a test says.
//!
//! A [`Server`] has the keys, in the four states that the protocol knows, and a log of all
//! commands. A [`Process`] is one process's connection to it: the `Remote` that a cache is built
//! with. Each command of a process can be made to wait at a [`Gate`], to fail or to hang, before
//! it takes effect or when it is answered, so that a test decides the order of every step.

// Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod client;
pub(crate) mod dice;
mod key;
#[cfg(feature = "limit")]
mod limit;
pub(crate) mod lock;
pub(crate) mod member;
pub(crate) mod node;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod time;
pub(crate) mod wait;

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use larder::{
    __private::{
        Acquired, Answers, Ask, Claim, Fill, Found, Got, Hold, Lease, Leased, Memory, ReadOf,
        ReadStamps, Reason, Remote, Reply, Seen, Settlement, Tags, Token, Turns, Wish,
    },
    Error,
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};

pub(crate) use self::key::{KEPT, State, found, stale};
use self::{
    key::Key,
    lock::{Answer, Standing},
};

/// A command of the seam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    Lease,
    Fill,
    Release,
    Invalidate,
    Hold,
    Settle,
    Changed,
    Clear,
    Limit,
    Acquire,
    Unlock,
    /// Of tags, whatever they are read with.
    Stamps,
}

/// A moment of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    /// It has not taken effect.
    Sent,
    /// It has, and nobody knows yet.
    Answered,
}

/// The server that all processes share.
#[derive(Debug)]
pub(crate) struct Server {
    world: Mutex<World>,
    /// Moves when any key changes.
    changes: watch::Sender<()>,
    began: Instant,
}

#[derive(Debug, Default)]
struct World {
    keys: BTreeMap<String, Key>,
    /// Who, what and the keys.
    log: Vec<(String, Vec<String>)>,
    /// The newest stamp of a tag.
    stamp: u64,
    locks: BTreeMap<String, Standing>,
    /// Whose turn it was said to be, and who hears that: claims by their tokens.
    turns: HashMap<Token, Arc<Notify>>,
    /// What was read of tags for what a token stands for.
    read: HashMap<Token, Vec<(String, u64)>>,
    /// In the order in which they connected.
    processes: Vec<Weak<Process>>,
    /// What was taken of limits.
    #[cfg(feature = "limit")]
    taken: HashMap<String, larder::__private::State>,
}

/// What a process tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Invalidated(String),
    Cleared,
}

impl Server {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::default(),
            changes: watch::Sender::new(()),
            began: Instant::now(),
        })
    }

    /// The connection of one process, by the name it has in the log.
    pub(crate) fn connect(self: &Arc<Self>, name: &'static str) -> Arc<Process> {
        let process = Arc::new(Process {
            name,
            server: Arc::clone(self),
            rules: Mutex::default(),
            awaited: Mutex::default(),
            polls: Mutex::default(),
            memory: OnceLock::new(),
            link: Mutex::new(Link::Proven),
            attended: Mutex::default(),
            refused: Mutex::default(),
            budget: Mutex::new(Duration::from_secs(3_600)),
        });
        self.world.lock().unwrap().processes.push(Arc::downgrade(&process));
        process
    }

    /// As if a process that no test plays had said it.
    pub(crate) fn say(&self, message: &Message) {
        self.tell("", message);
    }

    /// All but the one who says it are told.
    fn tell(&self, sender: &str, message: &Message) {
        let processes = self.world.lock().unwrap().processes.clone();
        for process in processes.iter().filter_map(Weak::upgrade) {
            if process.name != sender {
                process.hear(message);
            }
        }
    }

    /// What a key is, with the service: `test:user:42`.
    pub(crate) fn state(&self, key: &str) -> State {
        self.world.lock().unwrap().keys.get(key).map_or(State::Absent, Key::state)
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<Found> {
        match self.state(key) {
            State::Value(found, _) => Some(found),
            _ => None,
        }
    }

    /// What stands there of tags, if none of them is lost or held.
    fn stamps(&self, tags: &[String]) -> ReadStamps {
        let stamp = |tag: &String| match self.state(tag) {
            State::Stamp(stamp) => Some(stamp),
            _ => None,
        };
        tags.iter().map(stamp).collect()
    }

    /// The same, and makes those that are lost. `None` if one is held.
    fn seeded(&self, tags: &[String]) -> ReadStamps {
        if tags.iter().any(|tag| matches!(self.state(tag), State::Hold(..))) {
            return None;
        }
        let stamp = |tag: &String| {
            if let State::Stamp(stamp) = self.state(tag) {
                return stamp;
            }
            let mut world = self.world.lock().unwrap();
            world.stamp += 1;
            let stamp = world.stamp;
            drop(world);
            self.change(tag, |tag| tag.set(State::Stamp(stamp)));
            stamp
        };
        Some(tags.iter().map(stamp).collect())
    }

    fn stamps_of(&self, key: &str) -> Vec<u64> {
        let world = self.world.lock().unwrap();
        world.keys.get(key).map(|key| key.stamps.clone()).unwrap_or_default()
    }

    /// What a lease or a hold has read of tags, which what is stored with it carries.
    fn read(&self, token: Token) -> Vec<(String, u64)> {
        self.world.lock().unwrap().read.remove(&token).unwrap_or_default()
    }

    /// As if a process that no test plays had changed the key.
    pub(crate) fn set(&self, key: &str, state: State) {
        self.change(key, |key| {
            key.wakes += 1;
            key.set(state);
        });
    }

    /// As if such a process had failed to refresh the value of the key: for so long nobody does.
    pub(crate) fn pause(&self, key: &str, pause: Duration) {
        self.change(key, |key| key.pause(pause));
    }

    /// What was sent so far, as in `a GET`, whatever the key.
    pub(crate) fn log(&self) -> Vec<String> {
        self.world.lock().unwrap().log.iter().map(|(entry, _)| entry.clone()).collect()
    }

    /// What was sent about one key, also together with others.
    pub(crate) fn log_of(&self, key: &str) -> Vec<String> {
        let world = self.world.lock().unwrap();
        let is_of = |keys: &[String]| keys.iter().any(|of| of == key);
        world.log.iter().filter(|(_, of)| is_of(of)).map(|(entry, _)| entry.clone()).collect()
    }

    /// The keys of each command that was sent as this, as in `a MGET`.
    pub(crate) fn keys_of(&self, sent: &str) -> Vec<Vec<String>> {
        let world = self.world.lock().unwrap();
        world.log.iter().filter(|(entry, _)| entry == sent).map(|(_, keys)| keys.clone()).collect()
    }

    /// Forgets what was sent so far.
    pub(crate) fn forget(&self) {
        self.world.lock().unwrap().log.clear();
    }

    fn change<R>(&self, key: &str, change: impl FnOnce(&mut Key) -> R) -> R {
        let mut world = self.world.lock().unwrap();
        let key = world.keys.entry(key.to_owned()).or_default();
        key.expire();
        let result = change(key);
        drop(world);
        self.changes.send_replace(());
        result
    }

    /// Whether a waiter was last woken because nobody runs for the key any more.
    fn was_given_back(&self, key: &str) -> bool {
        self.world.lock().unwrap().keys.get(key).is_some_and(|key| key.was_given_back == key.wakes)
    }

    fn wakes(&self, key: &str) -> u64 {
        self.world.lock().unwrap().keys.get(key).map_or(0, |key| key.wakes)
    }
}

/// One process's connection to a [`Server`].
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    server: Arc<Server>,
    rules: Mutex<BTreeMap<(Verb, At), Rule>>,
    /// How often the waiters of a key had been woken when this process was told to wait.
    awaited: Mutex<BTreeMap<String, u64>>,
    polls: Mutex<Option<Duration>>,
    memory: OnceLock<Weak<dyn Memory>>,
    link: Mutex<Link>,
    /// How often it was asked to see to its link.
    attended: Mutex<u32>,
    /// Keys that nothing is done about.
    refused: Mutex<Vec<String>>,
    /// For a command about a lock.
    budget: Mutex<Duration>,
}

/// How messages come to a process.
#[derive(Debug)]
enum Link {
    /// At once, and for ever.
    Proven,
    /// At once, but nobody vouches for it.
    Unproven,
    /// When the test says so.
    Late(Vec<Message>),
    /// Not at all.
    Deaf,
}

#[derive(Debug, Clone)]
enum Rule {
    Fail,
    Hang,
    Wait(Gate),
    Delay(Duration),
    Lag(Gate),
}

/// What stops a command until a test lets it go.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    async fn passed(&self) {
        // A gate that is open is closed as a semaphore.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }

    /// Lets through the command that has waited the longest, or the next that comes.
    pub(crate) fn let_one_go(&self) {
        self.0.add_permits(1);
    }

    /// Lets through all that wait and all that come.
    pub(crate) fn open(&self) {
        self.0.close();
    }
}

impl Process {
    /// From now on such commands fail, and take no effect.
    pub(crate) fn fail(&self, verb: Verb) {
        self.rule(verb, At::Sent, Rule::Fail);
    }

    /// From now on such commands take effect, and the process never learns it.
    pub(crate) fn lose_answer(&self, verb: Verb) {
        self.rule(verb, At::Answered, Rule::Fail);
    }

    /// From now on a command about a lock may take so long.
    pub(crate) fn give(&self, budget: Duration) {
        *self.budget.lock().unwrap() = budget;
    }

    /// From now on such commands take no effect, and are never answered.
    pub(crate) fn hang(&self, verb: Verb) {
        self.rule(verb, At::Sent, Rule::Hang);
    }

    /// From now on such commands take so long.
    pub(crate) fn delay(&self, verb: Verb, by: Duration) {
        self.rule(verb, At::Sent, Rule::Delay(by));
    }

    /// From now on such commands are answered so much later.
    pub(crate) fn delay_answer(&self, verb: Verb, by: Duration) {
        self.rule(verb, At::Answered, Rule::Delay(by));
    }

    /// From now on such commands time out at once, and take effect when the gate lets them.
    pub(crate) fn lag(&self, verb: Verb) -> Gate {
        let gate = Gate(Arc::new(Semaphore::new(0)));
        self.rule(verb, At::Sent, Rule::Lag(gate.clone()));
        gate
    }

    /// From now on whatever would change this key is refused.
    pub(crate) fn refuse(&self, key: &str) {
        self.refused.lock().unwrap().push(key.to_owned());
    }

    /// From now on nothing is refused.
    pub(crate) fn refuse_nothing(&self) {
        self.refused.lock().unwrap().clear();
    }

    fn refused(&self, key: &str) -> Result<(), Error> {
        let is_refused = self.refused.lock().unwrap().iter().any(|refused| refused == key);
        if is_refused { Err(Error::Refused) } else { Ok(()) }
    }

    /// From now on who waits looks by itself, so often.
    pub(crate) fn poll(&self, every: Duration) {
        *self.polls.lock().unwrap() = Some(every);
    }

    /// From now on such commands wait at a gate.
    pub(crate) fn hold(&self, verb: Verb, at: At) -> Gate {
        let gate = Gate(Arc::new(Semaphore::new(0)));
        self.rule(verb, at, Rule::Wait(gate.clone()));
        gate
    }

    /// From now on such commands are answered. Those that wait at a gate or hang go on to do so.
    pub(crate) fn answer(&self, verb: Verb) {
        self.rules.lock().unwrap().retain(|(of, _), _| *of != verb);
    }

    /// From now on every command fails.
    pub(crate) fn cut_off(&self) {
        use Verb::{
            Acquire, Changed, Clear, Fill, Get, Hold, Invalidate, Lease, Limit, Release, Settle,
            Stamps, Unlock,
        };
        for verb in [
            Get, Lease, Fill, Release, Invalidate, Hold, Settle, Changed, Clear, Limit, Stamps,
            Acquire, Unlock,
        ] {
            self.fail(verb);
        }
    }

    /// From now on nobody vouches for its messages, though they come; to be said before a cache is
    /// built on it.
    pub(crate) fn prove_nothing(&self) {
        *self.link.lock().unwrap() = Link::Unproven;
    }

    /// A sign of life of the link, which was asked for at this moment.
    pub(crate) fn prove(&self) {
        if let Some(memory) = self.memory() {
            memory.proven(memory.now());
        }
    }

    /// From now on messages wait until the test delivers them.
    pub(crate) fn keep_messages(&self) {
        *self.link.lock().unwrap() = Link::Late(Vec::new());
    }

    /// Whether messages wait.
    pub(crate) fn keeps_messages(&self) -> bool {
        matches!(*self.link.lock().unwrap(), Link::Late(_))
    }

    /// The messages that wait, in their order.
    pub(crate) fn kept_messages(&self) -> Vec<Message> {
        match &mut *self.link.lock().unwrap() {
            Link::Late(messages) => mem::take(messages),
            _ => Vec::new(),
        }
    }

    /// All messages that wait arrive.
    pub(crate) fn deliver(&self) {
        for message in self.kept_messages() {
            self.listen(&message);
        }
    }

    /// The link is gone, and the process does not know.
    pub(crate) fn go_deaf(&self) {
        *self.link.lock().unwrap() = Link::Deaf;
    }

    /// The process notices that its link is gone.
    pub(crate) fn notice_break(&self) {
        self.go_deaf();
        if let Some(memory) = self.memory() {
            memory.broken();
        }
    }

    /// The process has subscribed again.
    pub(crate) fn subscribe(&self) {
        *self.link.lock().unwrap() = Link::Proven;
        if let Some(memory) = self.memory() {
            memory.broken();
            memory.proven(u64::MAX);
        }
    }

    /// How often it was asked to see to its link.
    pub(crate) fn attended(&self) -> u32 {
        *self.attended.lock().unwrap()
    }

    fn memory(&self) -> Option<Arc<dyn Memory>> {
        self.memory.get()?.upgrade()
    }

    fn hear(&self, message: &Message) {
        match &mut *self.link.lock().unwrap() {
            Link::Proven | Link::Unproven => {}
            Link::Late(messages) => return messages.push(message.clone()),
            Link::Deaf => return,
        }
        self.listen(message);
    }

    /// A message arrives.
    pub(crate) fn listen(&self, message: &Message) {
        match (message, self.memory()) {
            (Message::Invalidated(key), Some(memory)) => memory.invalidated(key),
            (Message::Cleared, Some(memory)) => memory.cleared(),
            (_, None) => {}
        }
    }

    fn rule(&self, verb: Verb, at: At, rule: Rule) {
        self.rules.lock().unwrap().insert((verb, at), rule);
    }

    fn log(&self, command: &str, key: &str) {
        self.log_all(command, vec![key.to_owned()]);
    }

    /// One command about several keys.
    fn log_all(&self, command: &str, keys: Vec<String>) {
        let entry = format!("{} {command}", self.name);
        self.server.world.lock().unwrap().log.push((entry, keys));
    }

    async fn pass(&self, verb: Verb, at: At) -> Result<(), Error> {
        let rule = self.rules.lock().unwrap().get(&(verb, at)).cloned();
        match rule {
            None => {}
            Some(Rule::Fail | Rule::Lag(_)) => return Err(Error::Unavailable),
            Some(Rule::Hang) => std::future::pending().await,
            Some(Rule::Delay(by)) => tokio::time::sleep(by).await,
            Some(Rule::Wait(gate)) => gate.passed().await,
        }
        Ok(())
    }

    /// Sends a command that has its effect between the two moments.
    async fn send<R>(
        &self,
        verb: Verb,
        key: &str,
        effect: impl FnOnce(&mut Key) -> R,
    ) -> Result<R, Error> {
        self.pass(verb, At::Sent).await?;
        let result = self.server.change(key, effect);
        self.pass(verb, At::Answered).await?;
        Ok(result)
    }
}

impl Process {
    /// Sends a command about several keys, and tells the others with each.
    async fn send_all<T: Send + 'static, R: Send>(
        &self,
        verb: Verb,
        items: Vec<T>,
        key_of: impl Fn(&T) -> String + Send,
        effect: impl Fn(&mut Key, T) -> R + Send + 'static,
    ) -> Vec<Result<R, Error>> {
        let name = match verb {
            Verb::Hold => "HOLD",
            Verb::Settle => "SETTLE",
            _ => "INVALIDATE",
        };
        let count = items.len();
        let items: Vec<_> = items.into_iter().map(|item| (key_of(&item), item)).collect();
        for (key, _) in &items {
            self.log(name, key);
        }
        let failed = || (0..count).map(|_| Err(Error::Unavailable)).collect();
        let (server, sender) = (Arc::clone(&self.server), self.name);
        let apply = move |key: &str, item| {
            let answer = server.change(key, |state| effect(state, item));
            server.tell(sender, &Message::Invalidated(key.to_owned()));
            answer
        };
        let rule = self.rules.lock().unwrap().get(&(verb, At::Sent)).cloned();
        if let Some(Rule::Lag(gate)) = rule {
            tokio::spawn(async move {
                gate.passed().await;
                for (key, item) in items {
                    apply(&key, item);
                }
            });
            return failed();
        }
        if self.pass(verb, At::Sent).await.is_err() {
            return failed();
        }
        let answers = items.into_iter().map(|(key, item)| {
            self.refused(&key)?;
            Ok(apply(&key, item))
        });
        let answers = answers.collect();
        if self.pass(verb, At::Answered).await.is_err() { failed() } else { answers }
    }
}

impl Server {
    /// What stands at the key of a lock, and counts now.
    pub(crate) fn standing(&self, key: &str) -> Option<Standing> {
        let now = self.micros() / 1000;
        self.world.lock().unwrap().locks.get(key).map(|standing| standing.at(now))
    }

    /// As if the server had been emptied.
    pub(crate) fn forget_locks(&self) {
        self.world.lock().unwrap().locks.clear();
    }

    /// From now on nobody who waits is told anything.
    pub(crate) fn say_no_turns(&self) {
        self.world.lock().unwrap().turns.clear();
    }

    /// How many wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.world.lock().unwrap().turns.len()
    }

    /// By its clock.
    fn micros(&self) -> u64 {
        // Later than zero, as of any server.
        1_000_000_000_000 + self.began.elapsed().as_micros() as u64
    }

    fn lock<R>(&self, key: &str, step: impl FnOnce(&Standing, u64) -> (R, Option<Standing>)) -> R {
        let now = self.micros();
        let mut world = self.world.lock().unwrap();
        let standing = world.locks.get(key).cloned().unwrap_or_default();
        let (result, left) = step(&standing, now);
        if let Some(left) = left {
            world.locks.insert(key.to_owned(), left);
        }
        result
    }

    fn unlock(&self, claim: &Claim) -> bool {
        let (had, next) = self.lock(&claim.key, |standing, now| {
            let (had, left, next) = standing.unlock(claim.token.0, now);
            ((had, next), left)
        });
        let world = self.world.lock().unwrap();
        if let Some(heard) = next.and_then(|next| world.turns.get(&Token(next))) {
            heard.notify_one();
        }
        had
    }
}

/// What a claim may have come to, that nobody learns of.
struct Late<'a> {
    process: &'a Process,
    claim: Claim,
    is_known: bool,
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            self.process.server.unlock(&self.claim);
        }
    }
}

/// One that waits for its turn.
struct Hearing {
    server: Arc<Server>,
    token: Token,
    heard: Arc<Notify>,
}

impl Turns for Hearing {
    fn next(&mut self, within: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let _ = tokio::time::timeout(within, self.heard.notified()).await;
        })
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.server.world.lock().unwrap().turns.remove(&self.token);
    }
}

/// Leases that nobody may learn of: the tier gives them back.
struct GiveBack<'a> {
    server: &'a Server,
    leases: Vec<Lease>,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        for Lease { key, token } in self.leases.drain(..) {
            self.server.change(&key, |key| key.release(token, Duration::ZERO));
        }
    }
}

/// What the asker gives up on may still have its effect, or not.
fn within_time<'a, T: Send + 'a>(
    within: Duration,
    asked: impl Future<Output = Result<T, Error>> + Send + 'a,
) -> Reply<'a, T> {
    Box::pin(async move {
        let timeout = tokio::time::timeout(within, asked).await;
        timeout.unwrap_or(Err(Error::Timeout { budget: within }))
    })
}

/// The same of a list.
fn all_within_time<'a, T: Send + 'a>(
    within: Duration,
    count: usize,
    asked: impl Future<Output = Vec<Result<T, Error>>> + Send + 'a,
) -> Answers<'a, T> {
    Box::pin(async move {
        let late = |_| (0..count).map(|_| Err(Error::Timeout { budget: within })).collect();
        tokio::time::timeout(within, asked).await.unwrap_or_else(late)
    })
}

/// None of these has an answer.
fn failed<T>(count: usize) -> Vec<Result<T, Error>> {
    (0..count).map(|_| Err(Error::Unavailable)).collect()
}

impl Process {
    /// Reads the stamps of the tags of these entries at once.
    async fn stamps(&self, keys: Vec<String>) -> Result<(), Error> {
        self.log_all("MGET", keys);
        self.pass(Verb::Stamps, At::Sent).await
    }

    /// What stands there of a value, and the stamps that it carries.
    fn seen(&self, key: &str) -> Option<(Found, Vec<u64>)> {
        Some((self.server.value(key)?, self.server.stamps_of(key)))
    }

    async fn read(&self, reads: Vec<ReadOf>) -> Vec<Result<(Got, ReadStamps), Error>> {
        let count = reads.len();
        if self.pass(Verb::Get, At::Sent).await.is_err() {
            return failed(count);
        }
        let seen: Vec<_> = reads.iter().map(|read| self.seen(&read.key)).collect();
        if self.pass(Verb::Get, At::Answered).await.is_err() {
            return failed(count);
        }
        let is_of_known = |(seen, read): (&Option<(Found, Vec<u64>)>, &ReadOf)| {
            seen.as_ref().is_none_or(|(_, stamps)| read.tags.known() == Some(stamps))
        };
        let known: Vec<_> = seen.iter().zip(&reads).map(is_of_known).collect();
        let unknown = reads.iter().zip(&known).filter(|(_, is_known)| !**is_known);
        let unknown: Vec<_> = unknown.map(|(read, _)| read.key.clone()).collect();
        let mut currents = Vec::new();
        let mut is_refused = false;
        if !unknown.is_empty() {
            // To be asked for before they are read.
            let tags: Vec<_> = reads.iter().map(|read| read.tags.keys()).collect();
            is_refused = self.stamps(unknown).await.is_err();
            currents = tags.iter().map(|tags| self.server.stamps(tags)).collect();
            is_refused |= self.pass(Verb::Stamps, At::Answered).await.is_err();
        }
        let mut currents = currents.into_iter();
        let mut answers = Vec::with_capacity(count);
        for (seen, is_known) in seen.into_iter().zip(known) {
            let current = currents.next().unwrap_or_default();
            answers.push(match seen {
                None => Ok((Got::Nothing, None)),
                Some((found, _)) if is_known => Ok((Got::Found(found), None)),
                Some(_) if is_refused => Err(Error::Unavailable),
                Some((found, stamps)) if current.as_ref() == Some(&stamps) => {
                    Ok((Got::Found(found), current))
                }
                Some((found, _)) => Ok((Got::Rejected(key::seen(&found)), current)),
            });
        }
        answers
    }

    async fn ask(&self, asks: Vec<Ask>) -> Vec<Result<(Leased, ReadStamps), Error>> {
        let count = asks.len();
        for Ask { lease, seen, .. } in &asks {
            let command = match seen {
                Seen::Nothing => "LEASE",
                Seen::Early => "LEASE early",
                Seen::Rejected(_) => "LEASE rejected",
                Seen::Refresh => "LEASE refresh",
            };
            self.log(command, &lease.key);
        }
        // What nobody learns of is given back by the tier.
        let asked = asks.iter().map(|ask| ask.lease.clone()).collect();
        let mut granted = GiveBack { server: &self.server, leases: asked };
        if self.pass(Verb::Lease, At::Sent).await.is_err() {
            return failed(count);
        }
        let lease = |Ask { lease: Lease { key, token }, seen, .. }: &Ask| {
            self.refused(key)?;
            Ok(self.server.change(key, |state| {
                let leased = state.lease(*token, seen);
                if matches!(leased, Leased::Busy | Leased::Stale { .. }) {
                    // Who is told to wait is woken by whatever comes from here on.
                    self.awaited.lock().unwrap().insert(key.clone(), state.wakes);
                }
                leased
            }))
        };
        let answers: Vec<_> = asks.iter().map(lease).collect();
        if self.pass(Verb::Lease, At::Answered).await.is_err() {
            return failed(count);
        }
        let is_granted =
            |leased: &Result<Leased, Error>| matches!(leased, Ok(Leased::Granted { .. }));
        let mut which = answers.iter().map(is_granted);
        granted.leases.retain(|_| which.next().unwrap_or_default());
        let tagged = asks.iter().filter(|ask| !ask.tags.is_empty());
        let tagged: Vec<_> = tagged.map(|ask| ask.lease.key.clone()).collect();
        let mut stamps = Vec::new();
        let mut is_refused = false;
        if !tagged.is_empty() {
            let tags: Vec<_> = asks.iter().map(|ask| ask.tags.keys()).collect();
            is_refused = self.stamps(tagged).await.is_err();
            let read = |(tags, leased): (&Vec<String>, &Result<Leased, Error>)| {
                let is_seeded = is_granted(leased) && !is_refused;
                if is_seeded { self.server.seeded(tags) } else { self.server.stamps(tags) }
            };
            stamps = tags.iter().zip(&answers).map(read).collect();
            is_refused |= self.pass(Verb::Stamps, At::Answered).await.is_err();
        }
        let mut stamps = stamps.into_iter();
        let (mut again, mut at_again) = (Vec::new(), Vec::new());
        let mut resolved = Vec::with_capacity(count);
        for (at, (ask, leased)) in asks.into_iter().zip(answers).enumerate() {
            let read = stamps.next().unwrap_or_default();
            let Lease { key, token } = &ask.lease;
            resolved.push(match leased {
                Err(error) => Err(error),
                Ok(_) if is_refused && !ask.tags.is_empty() => Err(Error::Unavailable),
                Ok(Leased::Granted { .. }) if read.is_none() && !ask.tags.is_empty() => {
                    Ok((Leased::Held, None))
                }
                Ok(leased @ Leased::Granted { .. }) => {
                    let tags = ask.tags.keys().into_iter().zip(read.iter().flatten().copied());
                    self.server.world.lock().unwrap().read.insert(*token, tags.collect());
                    granted.leases.retain(|lease| lease.token != *token);
                    Ok((leased, read))
                }
                Ok(Leased::Found(found) | Leased::Stale { found, .. })
                    if !ask.tags.is_empty() && read != Some(self.server.stamps_of(key)) =>
                {
                    // It asks once more.
                    at_again.push(at);
                    again.push(Ask { seen: Seen::Rejected(key::seen(&found)), ..ask });
                    Ok((Leased::Busy, None))
                }
                Ok(leased) => Ok((leased, read)),
            });
        }
        if !again.is_empty() {
            let answers = Box::pin(self.ask(again)).await;
            for (at, answer) in at_again.into_iter().zip(answers) {
                resolved[at] = answer;
            }
        }
        resolved
    }

    /// Ends leases, and says of which the token stood, and the stamps are what they were.
    async fn end<T: Send>(
        &self,
        command: &str,
        verb: Verb,
        leases: Vec<(Lease, T)>,
        effect: impl Fn(&mut Key, Token, T, Vec<u64>) -> bool + Send,
    ) -> Vec<Result<bool, Error>> {
        let count = leases.len();
        for (Lease { key, .. }, _) in &leases {
            self.log(command, key);
        }
        let with_stamps = |(lease, with): (Lease, T)| {
            let (tags, stamps): (Vec<_>, Vec<_>) =
                self.server.read(lease.token).into_iter().unzip();
            (lease, with, tags, stamps)
        };
        let leases: Vec<_> = leases.into_iter().map(with_stamps).collect();
        if self.pass(verb, At::Sent).await.is_err() {
            return failed(count);
        }
        let mut ended = Vec::with_capacity(count);
        for (Lease { key, token }, with, tags, stamps) in leases {
            let end = |key: &mut Key| effect(key, token, with, stamps.clone());
            let stood = self.refused(&key).map(|()| self.server.change(&key, end));
            ended.push((stood, tags, stamps));
        }
        if self.pass(verb, At::Answered).await.is_err() {
            return failed(count);
        }
        let is_current = |(stood, tags, stamps): (Result<bool, _>, Vec<_>, _)| {
            Ok(stood? && self.server.stamps(&tags) == Some(stamps))
        };
        ended.into_iter().map(is_current).collect()
    }
}

impl Remote for Process {
    fn get<'a>(
        &'a self,
        key: &'a str,
        tags: &'a Tags,
        within: Duration,
    ) -> Reply<'a, (Got, ReadStamps)> {
        within_time(within, async move {
            self.log("GET", key);
            let read = ReadOf { key: key.to_owned(), tags: tags.clone() };
            self.read(vec![read]).await.remove(0)
        })
    }

    fn get_all(&self, reads: Vec<ReadOf>, within: Duration) -> Answers<'_, (Got, ReadStamps)> {
        all_within_time(within, reads.len(), async move {
            self.log_all("MGET", reads.iter().map(|read| read.key.clone()).collect());
            self.read(reads).await
        })
    }

    fn lease(&self, asks: Vec<Ask>, within: Duration) -> Answers<'_, (Leased, ReadStamps)> {
        all_within_time(within, asks.len(), self.ask(asks))
    }

    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool> {
        Box::pin(async move {
            self.log("RENEW", key);
            self.pass(Verb::Lease, At::Sent).await?;
            let stands = self.server.change(key, |key| key.renew(token));
            self.pass(Verb::Lease, At::Answered).await?;
            Ok(stands)
        })
    }

    fn fill(&self, fills: Vec<(Lease, Fill)>, within: Duration) -> Answers<'_, bool> {
        let fill = |key: &mut Key, token, value, stamps| key.fill(token, value, stamps);
        all_within_time(within, fills.len(), self.end("FILL", Verb::Fill, fills, fill))
    }

    fn release(&self, leases: Vec<Lease>, pause: Duration) -> Answers<'_, bool> {
        let leases = leases.into_iter().map(|lease| (lease, ())).collect();
        let release = move |key: &mut Key, token, (), _| key.release(token, pause);
        Box::pin(self.end("RELEASE", Verb::Release, leases, release))
    }

    fn give_back(&self, leases: Vec<Lease>) -> Answers<'_, bool> {
        let leases = leases.into_iter().map(|lease| (lease, ())).collect();
        let give_back = |key: &mut Key, token, (), _| key.give_back(token);
        Box::pin(self.end("RELEASE", Verb::Release, leases, give_back))
    }

    fn invalidate<'a>(&'a self, keys: &'a [String]) -> Answers<'a, ()> {
        let effect = |key: &mut Key, _| key.invalidate();
        Box::pin(self.send_all(Verb::Invalidate, keys.to_vec(), String::clone, effect))
    }

    fn hold<'a>(&'a self, holds: &'a [Hold], term: Duration, still: bool) -> Answers<'a, ()> {
        let effect = move |key: &mut Key, hold: Hold| key.hold(hold.token, term, still);
        Box::pin(async move {
            for hold in holds {
                if let Some(stamps) = self.server.seeded(&hold.tags) {
                    let tags = hold.tags.iter().cloned().zip(stamps).collect();
                    self.server.world.lock().unwrap().read.insert(hold.token, tags);
                }
            }
            let held = holds.to_vec();
            self.send_all(Verb::Hold, held, |hold| hold.key.clone(), effect).await
        })
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Answers<'_, bool> {
        let key_of = |(settlement, _): &(Settlement, Vec<u64>)| settlement.hold.key.clone();
        let with_stamps = |settlement: Settlement| {
            let Settlement { hold, value } = settlement;
            let stamps: Vec<_> =
                self.server.read(hold.token).into_iter().map(|(_, stamp)| stamp).collect();
            let value = value.filter(|_| stamps.len() == hold.tags.len());
            (Settlement { hold, value }, stamps)
        };
        let settlements = settlements.into_iter().map(with_stamps).collect();
        let effect = |key: &mut Key, (settlement, stamps): (Settlement, _)| {
            key.settle(settlement.hold.token, settlement.value, stamps)
        };
        Box::pin(self.send_all(Verb::Settle, settlements, key_of, effect))
    }

    fn tell(&self, memory: Weak<dyn Memory>) {
        self.memory.set(memory).ok().unwrap();
        if matches!(*self.link.lock().unwrap(), Link::Proven) {
            self.memory().unwrap().proven(u64::MAX);
        }
    }

    fn attend(&self) {
        *self.attended.lock().unwrap() += 1;
    }

    fn changed<'a>(&'a self, key: &'a str) -> Reply<'a, Reason> {
        Box::pin(async move {
            self.log("WAIT", key);
            self.pass(Verb::Changed, At::Sent).await?;
            let awaited = self.awaited.lock().unwrap().get(key).copied().unwrap_or(0);
            let mut changes = self.server.changes.subscribe();
            let polls = *self.polls.lock().unwrap();
            while self.server.wakes(key) == awaited {
                // The server outlives its connections.
                let change = changes.changed();
                let Some(pause) = polls else {
                    change.await.unwrap();
                    continue;
                };
                if tokio::time::timeout(pause, change).await.is_err() {
                    return Ok(Reason::Poll);
                }
            }
            self.pass(Verb::Changed, At::Answered).await?;
            Ok(if self.server.was_given_back(key) { Reason::Poll } else { Reason::Woken })
        })
    }

    #[cfg(feature = "limit")]
    fn limit<'a>(
        &'a self,
        ask: larder::__private::Limiting<'a>,
    ) -> Reply<'a, larder::__private::Limited> {
        Box::pin(self.step(ask))
    }

    fn acquire<'a>(&'a self, claim: &'a Claim, wish: Wish) -> Reply<'a, Acquired> {
        within_time(*self.budget.lock().unwrap(), async move {
            let (command, ask) = match wish {
                Wish::Now => ("ACQUIRE now", lock::Ask::Now),
                Wish::Wait => ("ACQUIRE wait", lock::Ask::Wait),
                Wish::Renew => ("ACQUIRE renew", lock::Ask::Renew),
            };
            self.log(command, &claim.key);
            // What nobody learns of is given back by the tier.
            let mut late =
                Late { process: self, claim: claim.clone(), is_known: ask == lock::Ask::Renew };
            self.pass(Verb::Acquire, At::Sent).await?;
            let lease = claim.lease.as_millis() as u64;
            let answer = self
                .server
                .lock(&claim.key, |standing, now| standing.acquire(claim.token.0, lease, ask, now));
            self.pass(Verb::Acquire, At::Answered).await?;
            late.is_known = true;
            Ok(match answer {
                Answer::Held(fence) => Acquired::Held { fence },
                Answer::Busy(left, ahead) => {
                    Acquired::Busy { left: Duration::from_millis(left), ahead }
                }
                Answer::Lost => Acquired::Lost,
            })
        })
    }

    fn unlock<'a>(&'a self, claim: &'a Claim) -> Reply<'a, bool> {
        within_time(*self.budget.lock().unwrap(), async move {
            self.log("UNLOCK", &claim.key);
            self.pass(Verb::Unlock, At::Sent).await?;
            let had = self.server.unlock(claim);
            self.pass(Verb::Unlock, At::Answered).await?;
            Ok(had)
        })
    }

    fn turns(&self, claim: &Claim) -> Box<dyn Turns> {
        let heard = Arc::new(Notify::new());
        self.server.world.lock().unwrap().turns.insert(claim.token, Arc::clone(&heard));
        Box::new(Hearing { server: Arc::clone(&self.server), token: claim.token, heard })
    }

    fn clear(&self) -> Reply<'_, ()> {
        Box::pin(async move {
            self.log("CLEAR", "");
            self.pass(Verb::Clear, At::Sent).await?;
            let keys: Vec<_> = self.server.world.lock().unwrap().keys.keys().cloned().collect();
            for key in keys {
                self.server.change(&key, Key::invalidate);
            }
            self.server.tell(self.name, &Message::Cleared);
            self.pass(Verb::Clear, At::Answered).await
        })
    }
}
