//! A remote tier that does what a test says.
//!
//! A [`Server`] has the keys, in the four states that the protocol knows, and a log of all
//! commands. A [`Process`] is one process's connection to it: the `Remote` that a cache is built
//! with. Each command of a process can be made to wait at a [`Gate`], to fail or to hang, before
//! it takes effect or when it is answered, so that a test decides the order of every step.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub(crate) mod client;
pub(crate) mod dice;
pub(crate) mod member;
pub(crate) mod node;
pub(crate) mod proxy;
pub(crate) mod redis;

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use larder::{
    __private::{
        Answers, Fill, Found, Got, Hold, Leased, Memory, ReadStamps, Reason, Rejected, Remote,
        Reply, Seen, Settlement, Tags, Token,
    },
    Codec, Error,
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
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

/// What a key is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum State {
    #[default]
    Absent,
    Lease(Token),
    /// A value, and the one who was elected to refresh it.
    Value(Found, Option<Token>),
    /// Writers are in the middle of a change, and whether anything else has changed the key since.
    Hold(Vec<Token>, bool),
    /// Of a tag.
    Stamp(u64),
}

impl State {
    /// As a process that no test plays would have held it.
    pub(crate) fn held() -> Self {
        Self::Hold(vec![Token(7)], false)
    }
}

/// The server that all processes share.
#[derive(Debug)]
pub(crate) struct Server {
    world: Mutex<World>,
    /// Moves when any key changes.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct World {
    keys: BTreeMap<String, Key>,
    /// Who, what and the key.
    log: Vec<(String, String)>,
    /// The newest stamp of a tag.
    stamp: u64,
    /// What was read of tags for what a token stands for.
    read: HashMap<Token, Vec<(String, u64)>>,
    /// In the order in which they connected.
    processes: Vec<Weak<Process>>,
}

/// What a process tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Invalidated(String),
    Cleared,
}

#[derive(Debug, Default)]
struct Key {
    state: State,
    /// When those end by themselves who hold it.
    ends: Vec<(Token, Instant)>,
    stored: Option<Instant>,
    /// Of the tags of a value.
    stamps: Vec<u64>,
    /// How often a waiter was woken.
    wakes: u64,
}

impl Key {
    /// What stands now: a value has aged, or its life is over.
    fn state(&self) -> State {
        if let State::Hold(tokens, contended) = &self.state {
            let holds = |token: &&Token| {
                self.ends.iter().all(|(of, end)| of != *token || Instant::now() < *end)
            };
            let holding: Vec<_> = tokens.iter().filter(holds).copied().collect();
            return if holding.is_empty() {
                State::Absent
            } else {
                State::Hold(holding, *contended)
            };
        }
        let (State::Value(found, refresher), Some(stored)) = (&self.state, self.stored) else {
            return self.state.clone();
        };
        let passed = stored.elapsed();
        let life = found.life.saturating_sub(passed);
        if life.is_zero() {
            return State::Absent;
        }
        State::Value(Found { age: found.age + passed, life, ..found.clone() }, *refresher)
    }

    fn set(&mut self, state: State) {
        self.stored = matches!(state, State::Value(..)).then(Instant::now);
        self.state = state;
    }

    /// Whether the token is that of the lease or of the refresh.
    fn stands(&self, token: Token) -> bool {
        match self.state() {
            State::Lease(stands) => stands == token,
            State::Value(_, refresher) => refresher == Some(token),
            State::Absent | State::Hold(..) | State::Stamp(_) => false,
        }
    }

    fn lease(&mut self, token: Token, seen: Seen) -> Leased {
        match (self.state(), seen) {
            (State::Hold(..), _) => return Leased::Held,
            (State::Value(found, _), Seen::Nothing) => return Leased::Found(found),
            (State::Value(found, _), Seen::Refresh) => {
                self.set(State::Value(found, Some(token)));
                return Leased::Granted;
            }
            // With the token that stands it renews.
            (State::Lease(stands), Seen::Nothing | Seen::Rejected(_)) if stands != token => {
                return Leased::Busy;
            }
            (State::Absent | State::Lease(_) | State::Value(..) | State::Stamp(_), _) => {}
        }
        self.set(State::Lease(token));
        Leased::Granted
    }

    fn fill(&mut self, token: Token, value: Fill, stamps: Vec<u64>) -> bool {
        self.wakes += 1;
        let stands = self.stands(token);
        if stands {
            self.set(State::Value(stored(value), None));
            self.stamps = stamps;
        }
        stands
    }

    fn release(&mut self, token: Token) -> bool {
        let stands = self.stands(token);
        if stands {
            self.wakes += 1;
            let kept = match self.state() {
                State::Value(found, _) => State::Value(found, None),
                _ => State::Absent,
            };
            self.set(kept);
        }
        stands
    }

    /// A hold outlives it.
    fn invalidate(&mut self) {
        self.wakes += 1;
        match &mut self.state {
            State::Hold(_, contended) => *contended = true,
            _ => self.set(State::Absent),
        }
    }

    fn hold(&mut self, token: Token, term: Duration, still: bool) {
        self.wakes += 1;
        let end = Instant::now() + term;
        match &mut self.state {
            State::Hold(tokens, _) if tokens.contains(&token) => {}
            State::Hold(tokens, contended) => {
                tokens.push(token);
                *contended = true;
            }
            _ => self.set(State::Hold(vec![token], still)),
        }
        match self.ends.iter_mut().find(|(of, _)| *of == token) {
            Some((_, ends)) => *ends = end.max(*ends),
            None => self.ends.push((token, end)),
        }
    }

    fn settle(&mut self, token: Token, value: Option<Fill>, stamps: Vec<u64>) -> bool {
        self.wakes += 1;
        let State::Hold(tokens, contended) = &mut self.state else {
            self.set(State::Absent);
            return false;
        };
        if !tokens.contains(&token) {
            *contended = true;
            return false;
        }
        tokens.retain(|other| *other != token);
        if !tokens.is_empty() {
            return false;
        }
        let was_alone = !*contended;
        let value = value.filter(|_| was_alone);
        self.stamps = stamps;
        self.set(value.map_or(State::Absent, |value| State::Value(stored(value), None)));
        was_alone
    }
}

impl Server {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { world: Mutex::default(), changes: watch::Sender::new(()) })
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

    /// What was sent so far, as in `a GET`, whatever the key.
    pub(crate) fn log(&self) -> Vec<String> {
        self.world.lock().unwrap().log.iter().map(|(entry, _)| entry.clone()).collect()
    }

    /// What was sent about one key.
    pub(crate) fn log_of(&self, key: &str) -> Vec<String> {
        let world = self.world.lock().unwrap();
        world.log.iter().filter(|(_, of)| of == key).map(|(entry, _)| entry.clone()).collect()
    }

    /// Forgets what was sent so far.
    pub(crate) fn forget(&self) {
        self.world.lock().unwrap().log.clear();
    }

    fn change<R>(&self, key: &str, change: impl FnOnce(&mut Key) -> R) -> R {
        let mut world = self.world.lock().unwrap();
        let key = world.keys.entry(key.to_owned()).or_default();
        // Who holds it no more is gone.
        key.state = match key.state() {
            state @ (State::Hold(..) | State::Absent) => state,
            _ => key.state.clone(),
        };
        let result = change(key);
        drop(world);
        self.changes.send_replace(());
        result
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

    /// From now on such commands take no effect, and are never answered.
    pub(crate) fn hang(&self, verb: Verb) {
        self.rule(verb, At::Sent, Rule::Hang);
    }

    /// From now on such commands take so long.
    pub(crate) fn delay(&self, verb: Verb, by: Duration) {
        self.rule(verb, At::Sent, Rule::Delay(by));
    }

    /// From now on such commands time out at once, and take effect when the gate lets them.
    pub(crate) fn lag(&self, verb: Verb) -> Gate {
        let gate = Gate(Arc::new(Semaphore::new(0)));
        self.rule(verb, At::Sent, Rule::Lag(gate.clone()));
        gate
    }

    /// From now on invalidations and settlements of this key are refused.
    pub(crate) fn refuse(&self, key: &str) {
        self.refused.lock().unwrap().push(key.to_owned());
    }

    /// From now on nothing is refused.
    pub(crate) fn refuse_nothing(&self) {
        self.refused.lock().unwrap().clear();
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
        use Verb::{Changed, Clear, Fill, Get, Hold, Invalidate, Lease, Release, Settle, Stamps};
        for verb in [Get, Lease, Fill, Release, Invalidate, Hold, Settle, Changed, Clear, Stamps] {
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
        let entry = format!("{} {command}", self.name);
        self.server.world.lock().unwrap().log.push((entry, key.to_owned()));
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
        let refused = self.refused.lock().unwrap().clone();
        let answers = items.into_iter().map(|(key, item)| {
            if refused.contains(&key) { Err(Error::Refused) } else { Ok(apply(&key, item)) }
        });
        let answers = answers.collect();
        if self.pass(verb, At::Answered).await.is_err() { failed() } else { answers }
    }
}

struct GiveBack<'a> {
    server: &'a Server,
    key: &'a str,
    token: Token,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        self.server.change(self.key, |key| key.release(self.token));
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

impl Process {
    /// Reads the stamps of tags of an entry, in the way that `read` does.
    async fn stamps(
        &self,
        key: &str,
        tags: &[String],
        read: impl FnOnce(&Server, &[String]) -> ReadStamps,
    ) -> Result<ReadStamps, Error> {
        self.log("MGET", key);
        self.pass(Verb::Stamps, At::Sent).await?;
        let stamps = read(&self.server, tags);
        self.pass(Verb::Stamps, At::Answered).await?;
        Ok(stamps)
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
            self.pass(Verb::Get, At::Sent).await?;
            let (found, stamps) = (self.server.value(key), self.server.stamps_of(key));
            self.pass(Verb::Get, At::Answered).await?;
            let Some(found) = found else {
                return Ok((Got::Nothing, None));
            };
            if tags.known() == Some(&*stamps) {
                return Ok((Got::Found(found), None));
            }
            let current = self.stamps(key, &tags.keys(), Server::stamps).await?;
            let is_of = current.as_ref() == Some(&stamps);
            let got = if is_of { Got::Found(found) } else { rejected(&found) };
            Ok((got, current))
        })
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        token: Token,
        seen: Seen,
        tags: &'a Tags,
        within: Duration,
    ) -> Reply<'a, (Leased, ReadStamps)> {
        within_time(within, async move {
            self.log(
                match &seen {
                    Seen::Nothing => "LEASE",
                    Seen::Rejected(_) => "LEASE rejected",
                    Seen::Refresh => "LEASE refresh",
                },
                key,
            );
            let effect = |state: &mut Key| {
                let leased = state.lease(token, seen);
                if leased == Leased::Busy {
                    // Who is told to wait is woken by whatever comes from here on.
                    self.awaited.lock().unwrap().insert(key.to_owned(), state.wakes);
                }
                leased
            };
            // A lease that nobody learns of is given back by the tier.
            let granted = GiveBack { server: &self.server, key, token };
            let leased = self.send(Verb::Lease, key, effect).await?;
            if tags.is_empty() {
                std::mem::forget(granted);
                return Ok((leased, None));
            }
            let keys = tags.keys();
            if leased != Leased::Granted {
                std::mem::forget(granted);
                let current = self.stamps(key, &keys, Server::stamps).await?;
                let is_dead = current != Some(self.server.stamps_of(key));
                return Ok(match leased {
                    Leased::Found(found) if is_dead => {
                        // It would ask once more.
                        let Got::Rejected(seen) = rejected(&found) else { unreachable!() };
                        return self.lease(key, token, Seen::Rejected(seen), tags, within).await;
                    }
                    leased => (leased, current),
                });
            }
            let Some(stamps) = self.stamps(key, &keys, Server::seeded).await? else {
                return Ok((Leased::Held, None));
            };
            std::mem::forget(granted);
            let tags = keys.into_iter().zip(stamps.clone()).collect();
            self.server.world.lock().unwrap().read.insert(token, tags);
            Ok((leased, Some(stamps)))
        })
    }

    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool> {
        Box::pin(async move {
            self.log("RENEW", key);
            self.send(Verb::Lease, key, |key| key.stands(token)).await
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a str,
        token: Token,
        value: Fill,
        within: Duration,
    ) -> Reply<'a, bool> {
        within_time(within, async move {
            self.log("FILL", key);
            let (keys, stamps): (Vec<_>, Vec<_>) = self.server.read(token).into_iter().unzip();
            let then = Some(stamps.clone());
            let is_stored =
                self.send(Verb::Fill, key, |key| key.fill(token, value, stamps)).await?;
            Ok(is_stored && self.server.stamps(&keys) == then)
        })
    }

    fn release<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool> {
        Box::pin(async move {
            self.log("RELEASE", key);
            self.send(Verb::Release, key, |key| key.release(token)).await
        })
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
            Ok(Reason::Woken)
        })
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

/// What a reader says it has seen.
fn rejected(found: &Found) -> Got {
    Got::Rejected(Rejected(found.payload.to_vec()))
}

/// A value as another build of the program would have stored it.
pub(crate) fn found(payload: &str, fingerprint: u64) -> Found {
    Found {
        payload: payload.as_bytes().to_vec().into(),
        codec: Codec::Json,
        negative: false,
        fingerprint,
        age: Duration::ZERO,
        life: Duration::from_secs(60),
    }
}

fn stored(value: Fill) -> Found {
    Found {
        payload: value.payload.into(),
        codec: value.codec,
        negative: value.negative,
        fingerprint: value.fingerprint,
        age: value.age,
        life: value.life,
    }
}
