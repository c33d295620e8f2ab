//! Clients that send each other messages, beside those that ask for keys.
//!
//! What is checked: who was told of its subscription before a message was sent, and asked for the end of it only after its publisher was
//! answered, has got it when it is told of that end; nobody gets a message twice, of another channel, before one that the same
//! connection sent earlier, or when it was told of the end; and a publisher is told a number of subscribers that is possible.

use super::entry::{self, Entries};
use super::speech::{array, frames};
use super::world::World;
use crate::transport::sim::{LinkId, Network, Random};
use std::collections::{HashMap, HashSet, VecDeque};

/// Channels; behind them stands a pattern that all of them match.
const CHANNELS: usize = 3;
const PATTERN: usize = CHANNELS;
const NAMES: [&str; CHANNELS + 1] = ["c0", "c1", "c2", "c?"];
/// Worlds in which clients talk, percent.
const TALK_PERCENT: u32 = 35;
/// Messages that are sent together, at most.
const BURST: usize = 8;

/// All that is said.
#[derive(Debug)]
pub(super) struct Talk {
    random: Random,
    talkers: Vec<Talker>,
    messages: Vec<Message>,
    /// Counts what happens.
    now: u64,
    /// Messages still to be sent.
    left: usize,
    pub(super) entries: Entries,
    may_close: bool,
}

#[derive(Debug)]
struct Message {
    publisher: Publisher,
    channel: usize,
    begun: u64,
    /// When its publisher was answered.
    ended: Option<u64>,
}

/// A talker, and how many connections it had before.
type Publisher = (usize, usize);

#[derive(Debug, Default)]
struct Talker {
    lost: usize,
    link: Option<LinkId>,
    /// It understands messages between answers.
    modern: bool,
    publishes: bool,
    asked: VecDeque<Asked>,
    input: Vec<u8>,
    subscriptions: [Subscription; CHANNELS + 1],
    is_dead: bool,
    /// Bytes that it reads in a step, at most.
    read_max: usize,
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Hello,
    Ping,
    Subscribe(usize),
    Unsubscribe(usize),
    Publish(usize),
    /// MULTI, or a command behind it.
    Queued,
    /// The end of a transaction of a command about a key and so many messages from this one on.
    Exec {
        first: usize,
        count: usize,
    },
}

#[derive(Debug, Default)]
struct Subscription {
    state: State,
    /// When it was over last.
    over: u64,
    heard: HashSet<usize>,
    /// By publisher: the last message.
    last: HashMap<Publisher, usize>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Off,
    Asked,
    On {
        since: u64,
    },
    Leaving {
        since: u64,
        until: u64,
    },
}

impl Talk {
    /// What a seed's clients have to say: nothing, mostly.
    pub(super) fn new(world: &World, seed: u64) -> Talk {
        // Of its own, so that what else a seed draws stays what it is.
        let mut random = Random::new(seed ^ 0x7A1C);
        let talks = world.tier.is_none() && random.chance(TALK_PERCENT);
        let count = if talks { 2 + random.below(6) } else { 0 };
        let mut talkers: Vec<Talker> = Vec::new();
        for number in 0..count {
            let (modern, read_max) = (random.chance(50), 1 + random.below(3000));
            // In RESP2 a subscriber can send nothing.
            let publishes = number == 0 || (modern && random.chance(30));
            talkers.push(Talker { modern, publishes, read_max, ..Talker::default() });
        }
        let left = if talks { 20 + random.below(300) } else { 0 };
        Talk {
            random,
            talkers,
            messages: Vec::new(),
            now: 0,
            left,
            entries: Entries::default(),
            may_close: world.closes(),
        }
    }

    pub(super) fn read_fast(&mut self) {
        self.talkers.iter_mut().for_each(|talker| talker.read_max = usize::MAX);
    }

    /// Whether all is said, and nobody listens any more.
    pub(super) fn is_done(&self) -> bool {
        let is_off = |subscription: &Subscription| subscription.state == State::Off;
        let is_quiet = |talker: &Talker| talker.asked.is_empty() && talker.subscriptions.iter().all(is_off);
        self.left == 0 && self.talkers.iter().all(is_quiet)
    }

    /// Lets each talker read and send.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) fn step(&mut self, network: &mut Network, world: &World) -> Result<(), String> {
        for talker in &mut self.talkers {
            talker.is_dead = talker.link.is_none_or(|link| network.is_dead(link));
        }
        for number in 0..self.talkers.len() {
            self.step_of(number, network, world).map_err(|wrong| {
                format!("talker {number} of {}: {wrong}: {:?}", self.talkers.len(), self.talkers[number])
            })?;
        }
        Ok(())
    }

    fn step_of(&mut self, number: usize, network: &mut Network, world: &World) -> Result<(), String> {
        if self.is_done() {
            return Ok(());
        }
        let link = match self.talkers[number].link {
            Some(link) => link,
            None => {
                let link = network.connect(self.random.below(world.shards as usize) as u16, 0);
                self.begin(number, link, network, world);
                link
            }
        };
        if self.random.chance(60) {
            let talker = &mut self.talkers[number];
            talker.input.extend(network.read(link, talker.read_max));
            self.hear(number)?;
        }
        if network.is_dead(link) {
            return self.lose(number, network.was_reset(link));
        }
        if self.random.chance(40) && self.talkers[number].asked.len() < 3 {
            self.say(number, link, network);
        }
        Ok(())
    }

    fn begin(&mut self, number: usize, link: LinkId, network: &mut Network, world: &World) {
        let talker = &mut self.talkers[number];
        talker.link = Some(link);
        self.entries.of(true).given += u64::from(world.password);
        if talker.modern {
            talker.asked.push_back(Asked::Hello);
            network.write(link, &array(world.hello()));
        } else if world.password {
            talker.asked.push_back(Asked::Hello);
            network.write(link, &array(&["AUTH", entry::PASSWORDS[0]]));
        }
    }

    /// The connection is gone, and with it all subscriptions.
    fn lose(&mut self, number: usize, was_reset: bool) -> Result<(), String> {
        self.now += 1;
        let talker = &mut self.talkers[number];
        let waits = !talker.asked.is_empty();
        let listens = talker.subscriptions.iter().any(|subscription| subscription.state != State::Off);
        if (waits || listens) && !was_reset && !self.may_close {
            return Err("was closed".into());
        }
        for subscription in &mut talker.subscriptions {
            if subscription.state != State::Off {
                *subscription = Subscription { over: self.now, ..Subscription::default() };
            }
        }
        talker.asked.clear();
        talker.input.clear();
        talker.link = None;
        talker.lost += 1;
        Ok(())
    }

    fn say(&mut self, number: usize, link: LinkId, network: &mut Network) {
        let mut bytes = Vec::new();
        self.now += 1;
        let listens = self.talkers[number].subscriptions.iter().any(|one| one.state != State::Off);
        let may_publish = self.talkers[number].publishes && (self.talkers[number].modern || !listens);
        let changes = self.talkers[number].modern || !self.talkers[number].publishes;
        if may_publish && self.left > 0 && self.random.chance(60) {
            let count = 1 + self.random.below(BURST.min(self.left));
            let is_transaction = self.random.chance(30);
            let first = self.messages.len();
            let publisher = (number, self.talkers[number].lost);
            let asked = &mut self.talkers[number].asked;
            if is_transaction {
                // One of few keys, so that others wait for it while it is held.
                let key = format!("talk{}", self.random.below(3));
                bytes.extend([array(&["MULTI"]), array(&["GET", &key])].concat());
                asked.extend([Asked::Queued; 2]);
            }
            for id in first..first + count {
                let channel = self.random.below(CHANNELS);
                bytes.extend(array(&["PUBLISH", NAMES[channel], &format!("m{id}")]));
                asked.push_back(if is_transaction { Asked::Queued } else { Asked::Publish(id) });
                self.messages.push(Message { publisher, channel, begun: self.now, ended: None });
            }
            if is_transaction {
                bytes.extend(array(&["EXEC"]));
                asked.push_back(Asked::Exec { first, count });
            }
            self.left -= count;
        } else if changes {
            let of = self.random.below(CHANNELS + 1);
            bytes.extend(self.change(number, of));
        } else {
            self.talkers[number].asked.push_back(Asked::Ping);
            bytes.extend(array(&["PING"]));
        }
        network.write(link, &bytes);
    }

    /// Begins a subscription, or ends it. In the end nobody begins one.
    fn change(&mut self, number: usize, of: usize) -> Vec<u8> {
        let (left, now, stays) = (self.left, self.now, self.random.chance(70));
        let talker = &mut self.talkers[number];
        let state = &mut talker.subscriptions[of].state;
        let is_pattern = of == PATTERN;
        match *state {
            State::Off if left > 0 => {
                *state = State::Asked;
                talker.asked.push_back(Asked::Subscribe(of));
                array(&[if is_pattern { "PSUBSCRIBE" } else { "SUBSCRIBE" }, NAMES[of]])
            }
            State::On { since } if left == 0 || !stays => {
                *state = State::Leaving { since, until: now };
                talker.asked.push_back(Asked::Unsubscribe(of));
                array(&[if is_pattern { "PUNSUBSCRIBE" } else { "UNSUBSCRIBE" }, NAMES[of]])
            }
            _ => Vec::new(),
        }
    }

    fn hear(&mut self, number: usize) -> Result<(), String> {
        for frame in frames(&mut self.talkers[number].input) {
            self.now += 1;
            self.take(number, &frame)?;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, frame: &str) -> Result<(), String> {
        let lines: Vec<&str> = frame.split("\r\n").collect();
        match (lines[0], lines.get(2).copied().unwrap_or_default()) {
            ("*3" | ">3", "message") => self.take_message(number, lines[4], lines[4], lines[6]),
            ("*4" | ">4", "pmessage") => self.take_message(number, lines[4], lines[6], lines[8]),
            _ => self.take_answer(number, &lines),
        }
    }

    fn take_message(&mut self, number: usize, name: &str, channel: &str, text: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: {text} of {channel} for {name}"));
        let Some(of) = NAMES.iter().position(|known| *known == name) else {
            return wrong("nobody asked for it");
        };
        let id: usize = text.trim_start_matches('m').parse().map_err(|_| format!("{text} was never sent"))?;
        let Some(message) = self.messages.get(id) else { return wrong("never sent") };
        let subscription = &mut self.talkers[number].subscriptions[of];
        if NAMES[message.channel] != channel {
            return wrong("of another channel");
        }
        if !matches!(subscription.state, State::On { .. } | State::Leaving { .. }) {
            return wrong("not subscribed");
        }
        let last = subscription.last.insert(message.publisher, id);
        if last.is_some_and(|last| last >= id) || !subscription.heard.insert(id) {
            return wrong("out of order");
        }
        Ok(())
    }

    fn take_answer(&mut self, number: usize, lines: &[&str]) -> Result<(), String> {
        let now = self.now;
        let asked = self.talkers[number].asked.pop_front();
        let subscriptions = &mut self.talkers[number].subscriptions;
        match (asked, lines) {
            (Some(Asked::Hello), [first, ..]) if !first.starts_with('-') => Ok(()),
            (Some(Asked::Ping), ["+PONG", ..]) => Ok(()),
            (Some(Asked::Subscribe(of)), [_, _, "subscribe" | "psubscribe", _, name, ..])
                if NAMES[of] == *name =>
            {
                subscriptions[of].state = State::On { since: now };
                Ok(())
            }
            (Some(Asked::Unsubscribe(of)), [_, _, "unsubscribe" | "punsubscribe", _, name, ..])
                if NAMES[of] == *name =>
            {
                let over = Subscription { over: now, ..Subscription::default() };
                let subscription = std::mem::replace(&mut subscriptions[of], over);
                self.all_were_heard(of, &subscription)
            }
            (Some(Asked::Publish(id)), [count, ..]) if count.starts_with(':') => self.published(id, count),
            (Some(Asked::Queued), ["+OK" | "+QUEUED", ..]) => Ok(()),
            (Some(Asked::Exec { first, count }), [length, _, counts @ ..])
                if *length == format!("*{}", count + 1) && counts.len() > count =>
            {
                (first..first + count).zip(counts).try_for_each(|(id, count)| self.published(id, count))
            }
            // It did not get its key in time, and has sent nothing.
            (Some(Asked::Exec { .. }), [error, ..]) if error.starts_with("-ERR the transaction") => Ok(()),
            // Memory for clients is short.
            (Some(Asked::Subscribe(of)), [error, ..]) if self.may_close && error.starts_with("-ERR busy") => {
                subscriptions[of].state = State::Off;
                Ok(())
            }
            (asked, lines) => Err(format!("{asked:?} was answered {lines:?}")),
        }
    }

    fn published(&mut self, id: usize, count: &str) -> Result<(), String> {
        let number = count.strip_prefix(':').and_then(|number| number.parse().ok());
        self.messages[id].ended = Some(self.now);
        self.count_is_possible(id, number.ok_or_else(|| format!("{count} is no count"))?)
    }

    fn all_were_heard(&self, of: usize, subscription: &Subscription) -> Result<(), String> {
        let State::Leaving { since, until } = subscription.state else { return Ok(()) };
        let is_due = |message: &Message| {
            let is_of = of == PATTERN || of == message.channel;
            is_of && message.begun > since && message.ended.is_some_and(|ended| ended < until)
        };
        let missed = |(id, message): &(usize, &Message)| is_due(message) && !subscription.heard.contains(id);
        match self.messages.iter().enumerate().find(missed) {
            None => Ok(()),
            Some((id, message)) => Err(format!("m{id} of {} never came: {message:?}", NAMES[of])),
        }
    }

    fn count_is_possible(&self, id: usize, count: usize) -> Result<(), String> {
        let message = &self.messages[id];
        let (mut least, mut most) = (0, 0);
        for talker in &self.talkers {
            let is_alive = !talker.is_dead;
            for of in [message.channel, PATTERN] {
                let subscription = &talker.subscriptions[of];
                // The server may know that a connection is gone before its client does.
                let is_on = matches!(subscription.state, State::On { since } if since < message.begun);
                let is_sure = is_on && is_alive;
                least += usize::from(is_sure);
                most += usize::from(subscription.state != State::Off || subscription.over > message.begun);
            }
        }
        // A subscription that was over and begins anew meanwhile may count twice.
        match (least..=2 * most).contains(&count) || (self.may_close && count <= 2 * most) {
            true => Ok(()),
            false => Err(format!("m{id} went to {count}, and not to {least} to {most}")),
        }
    }
}
