//! A process: its memory of the key, what is pending there, and its link to the messages of others.

use super::{Add, Broken, Protocol, State, Steps, Who, freshness::Age, redis::Stamp, tag::Local};

/// More messages are never under way.
const ROOM: usize = 8;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Process {
    /// Whether it has crashed.
    pub is_gone: bool,
    /// What memory has. Dropped with each bump of the slot: an entry of an older generation is none.
    pub memory: Option<Entry>,
    /// The reader whose flight can be joined.
    pub flight: Option<u8>,
    /// What its writers do to the key.
    pub changes: Changes,
    /// Whether anything else has changed the key meanwhile.
    pub contended: bool,
    /// The version of the newest invalidation that has returned here, well or not.
    pub returned: u8,
    /// The subscription.
    pub link: Link,
    /// Whether the link was proven alive within `max_staleness`.
    pub is_trusted: bool,
    /// The newest version that had been announced when that proof was asked for.
    pub proven: u8,
}

/// What the writers of a process do to a key, or to a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Changes {
    /// The number of the newest invalidation that is under way or failed; 0 for none.
    pub newest: u8,
    /// How many invalidations have begun.
    pub begun: u8,
    /// Those in the middle of a change.
    pub holds: u8,
}

/// What memory has of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// As of this version of the database.
    pub value: u8,
    /// How old it is: past its end it is none.
    pub age: Age,
    /// Whether `max_staleness` has passed since its load began.
    pub is_old: bool,
    /// Whether Redis has never heard of it: then it ends when it is old.
    pub is_unconfirmed: bool,
}

/// The subscription, as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// What is on its way, the next one first.
    Up([Option<Message>; ROOM]),
    /// Broken, which the process has not noticed.
    Cut,
    /// Broken, which it has.
    Down,
}

/// What comes over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    /// Another process has changed the key.
    Changed,
    /// Another process has changed the tag.
    Bumped {
        /// The new stamp, if it says so.
        stamp: Stamp,
    },
    /// The answer to a PING.
    Pong {
        /// What had been announced when it was sent.
        announced: u8,
    },
    /// The answer to a SUBSCRIBE.
    Subscribed {
        /// What had been announced when it was sent.
        announced: u8,
        /// Whether `max_staleness` has passed since then.
        is_old: bool,
    },
}

impl Default for Link {
    fn default() -> Self {
        Self::Up([None; ROOM])
    }
}

impl Changes {
    pub(super) fn is_pending(self) -> bool {
        self.newest > 0 || self.holds > 0
    }
}

impl Link {
    fn send(&mut self, message: Message) {
        if let Self::Up(queue) = self {
            let end = queue.iter_mut().find(|place| place.is_none());
            *end.expect("a link has room for all messages of a configuration") = Some(message);
        }
    }

    pub(super) fn each_stamp(&mut self, with: &mut impl FnMut(&mut Stamp)) {
        let Self::Up(queue) = self else { return };
        for message in queue.iter_mut().flatten() {
            if let Message::Bumped { stamp } = message {
                with(stamp);
            }
        }
    }

    /// What was asked `max_staleness` ago proves nothing any more.
    fn age(&mut self) {
        let Self::Up(queue) = self else { return };
        let late = std::mem::take(queue);
        for mut message in late.into_iter().flatten() {
            if let Message::Subscribed { is_old, .. } = &mut message {
                *is_old = true;
            }
            if !matches!(message, Message::Pong { .. }) {
                self.send(message);
            }
        }
    }
}

impl State {
    /// P1, of a change by this process: moves the generation of the key's slot. The entry is
    /// outdated. What is being loaded stores nothing, and no later call joins it.
    pub(super) fn bump(&mut self, process: u8) {
        self.hear(process);
        self.supersede(process);
    }

    /// The same of the tag's slot: it outdates the entry, too, and the stamp that is known here.
    pub(super) fn bump_tag(&mut self, process: u8, broken: Option<Broken>) {
        self.drop_stamp(process);
        if broken == Some(Broken::JoinsAcrossBump) {
            self.forget(process);
        } else {
            self.hear(process);
        }
        self.supersede(process);
    }

    /// The same, of a change by another process: whether what is being loaded is from before it, the
    /// lease knows.
    fn hear(&mut self, process: u8) {
        self.forget(process);
        self.processes[process as usize].flight = None;
    }

    /// The same, where what is being loaded can still be joined.
    fn forget(&mut self, process: u8) {
        let here = &mut self.processes[process as usize];
        here.memory = None;
        here.contended |= here.changes.holds > 0;
        for reader in &mut self.readers {
            reader.is_outdated |= reader.process == process && reader.leads();
        }
    }

    /// The same, of a link that broke: all slots move.
    fn forget_all(&mut self, process: u8, broken: Option<Broken>) {
        self.forget(process);
        if broken != Some(Broken::StampsOutliveLink) {
            self.drop_stamp(process);
        }
    }

    /// F3: what is being loaded stores nothing.
    pub(super) fn supersede(&mut self, process: u8) {
        for reader in &mut self.readers {
            reader.is_superseded |= reader.process == process && reader.leads();
        }
    }

    pub(super) fn is_pending(&self, process: u8) -> bool {
        self.processes[process as usize].changes.is_pending()
            || self.tag.is_some_and(|tag| tag.processes[process as usize].changes.is_pending())
    }

    /// What another process learns of a change by this one, in the same step as Redis.
    pub(super) fn publish(&mut self, process: u8, message: Message) {
        self.processes[1 - process as usize].link.send(message);
    }
}

impl Protocol {
    pub(super) fn process_steps(&self, state: &State, process: u8, steps: &mut Steps) {
        let here = &state.processes[process as usize];
        if here.is_gone {
            return;
        }
        let who = Who::Process(process);
        let is_busy = state
            .readers
            .iter()
            .any(|reader| reader.process == process && !reader.is_done())
            || state.writers.iter().any(|writer| writer.process == process && !writer.is_done());
        if state.left.crashes > 0 && is_busy {
            let mut after = *state;
            after.left.crashes -= 1;
            after.crash(process);
            steps.chance(who, "crashes", after);
        }
        if !self.listens() {
            return;
        }
        let to = process as usize;
        match here.link {
            Link::Up(queue) => {
                if queue[0].is_some() {
                    let mut after = *state;
                    self.deliver(&mut after, process);
                    steps.certain(who, "gets a message", after);
                }
                let is_asking = queue
                    .iter()
                    .flatten()
                    .any(|next| matches!(next, Message::Pong { .. } | Message::Subscribed { .. }));
                let is_new = here.proven < state.announced && state.left.pings > 0;
                if !is_asking && (is_new || !here.is_trusted) {
                    let mut after = *state;
                    after.left.pings -= u8::from(here.is_trusted);
                    let announced = state.announced;
                    after.processes[to].link.send(Message::Pong { announced });
                    steps.certain(who, "sends PING", after);
                }
                if state.left.breaks > 0 {
                    let mut after = *state;
                    after.left.breaks -= 1;
                    after.processes[to].link = Link::Cut;
                    steps.chance(who, "loses its link", after);
                }
            }
            Link::Cut => {
                let mut after = *state;
                after.processes[to].link = Link::Down;
                after.processes[to].is_trusted = false;
                after.forget_all(process, self.broken);
                steps.certain(who, "notices that its link is lost", after);
            }
            Link::Down => {
                let mut after = *state;
                let announced = state.announced;
                after.processes[to].link = Link::default();
                after.processes[to].link.send(Message::Subscribed { announced, is_old: false });
                steps.certain(who, "sends SUBSCRIBE", after);
            }
        }
    }

    /// P4: what a message changes.
    fn deliver(&self, state: &mut State, process: u8) {
        let now = state.announced;
        let here = &mut state.processes[process as usize];
        let Link::Up(queue) = &mut here.link else { return };
        let message = queue[0].take();
        queue.rotate_left(1);
        let mut prove = |announced| {
            here.is_trusted = true;
            let late = self.broken == Some(Broken::LateProof);
            here.proven = if late { now } else { announced };
        };
        match message {
            Some(Message::Changed) => state.hear(process),
            Some(Message::Bumped { stamp }) => {
                state.drop_stamp(process);
                state.hear(process);
                if let Some(tag) = &mut state.tag
                    && stamp != 0
                {
                    let local = Local { stamp, is_old: false, as_of: 0 };
                    tag.processes[process as usize].local = Some(local);
                }
            }
            Some(Message::Pong { announced }) => prove(announced),
            Some(Message::Subscribed { announced, is_old }) => {
                if !is_old {
                    prove(announced);
                }
                if self.broken != Some(Broken::NoBumpOnSubscribe) {
                    state.forget_all(process, self.broken);
                }
            }
            None => {}
        }
    }

    /// `max_staleness` passes: what was proven or loaded before is too old by now, and so is what was
    /// announced before.
    pub(super) fn time_steps(&self, state: &State, steps: &mut Steps) {
        if state.left.ticks == 0 {
            return;
        }
        let mut after = *state;
        after.left.ticks -= 1;
        after.floor = state.announced;
        for process in &mut after.processes {
            process.is_trusted = false;
            process.link.age();
            process.memory = process.memory.and_then(|entry| {
                (!entry.is_unconfirmed).then_some(Entry { is_old: true, ..entry })
            });
        }
        for reader in &mut after.readers {
            reader.is_old |= reader.leads();
        }
        for writer in &mut after.writers {
            let is_tagged = state.tag.is_some() && self.broken != Some(Broken::UpdateDatedBySettle);
            writer.is_old |= writer.has_settled() || (is_tagged && writer.has_held());
        }
        if let Some(tag) = &mut after.tag {
            tag.age();
        }
        steps.chance(Who::Time, "max_staleness passes", after);
    }
}
