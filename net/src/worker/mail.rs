//! What shards say to each other, in batches.
//!
//! ```text
//!   asker                                             owner
//!   ask, ask, ask -> [ batch ] ------ asks ---------> executed in the same stages as a client's requests
//!   composed      <- [ batch ] <----- answers ------- each answer written beside its request
//! ```
//!
//! A [`Batch`] travels to the owner of the keys and comes back with the answers in it: what the asker needs to compose
//! an answer (the key, what the client wants repeated) is still in there, and no memory flows from one shard to another.
//!
//! A shard has at most [`Lane::batches_max`] batches on the way to another one, and both rings between the two are that
//! long. So neither a batch nor an answer ever waits for room in a ring, and two shards that flood each other cannot
//! deadlock. A connection that finds no place waits in the lane's line. When places are free again, only as many connections
//! go on as there are places, in their order. So the cost of a request is the same however many wait.
//!
//! Between two shards there is a second pair of lanes, the *express* lanes. A batch may have to stop at a key that a transaction holds, and
//! all behind it in its lane; what transactions say to each other's shards, and ask about keys that they hold, goes by express, where
//! nothing waits for a held key. They are looked at from when one is used.
//!
//! Lent bytes that go home need no answer. They travel with the next batch in either direction, and may overtake requests
//! that were sent before, as answers are read first. Everything else keeps the order of the requests.

mod batch;
mod lane;
mod mailbox;
#[cfg(test)]
mod mailbox_tests;
mod news;
mod sync;

pub(crate) use batch::{
    Address, Answered, AnsweredWith, Ask, AskBytes, AskKind, AskWhat, BATCH_ASKS, Batch, OwnedAnswered,
    Posted, Report, What,
};
pub(crate) use lane::Lane;

use crate::transport::{ConnId, Waker};
use batch::BATCH_BYTES_KEPT;
use mailbox::Doorbell;
use news::NewsLane;
use std::collections::VecDeque;
use std::sync::Arc;
use torc_engine::command::Millis;

/// Batches of one shard that may be on the way to all others together, and the bounds on those to one other shard.
const BATCHES: usize = 64;
const BATCHES_PER_LANE: std::ops::RangeInclusive<usize> = 2..=16;
/// A waiting connection goes on when this many places are free. It may use more or fewer of them.
pub(crate) const RESUME_PLACES: usize = 64;
/// Places that are left to connections that ask for little. Otherwise they would wait behind all clients that pipeline.
pub(crate) const LEFT_PLACES: usize = BATCH_ASKS;

/// A shard's lanes to all others.
pub(crate) struct Mail {
    /// By shard; `None` at the shard's own place. Behind them the express lanes.
    lanes: Vec<Option<Lane>>,
    /// Those that a turn looks at: without the express lanes as long as no transaction has used one.
    in_use: usize,
    /// By shard, too.
    news: Vec<Option<NewsLane>>,
    shards: u16,
    /// Rung by the others when this shard sleeps.
    bell: Arc<Doorbell>,
    wakers: Vec<Option<Arc<dyn Waker>>>,
}

impl Mail {
    /// Lanes among `shards` shards, a set for each shard. The batches of one shard fit into `bytes`, unless the least number
    /// for each lane needs more.
    pub(crate) fn among(shards: u16, bytes: u64) -> Vec<Mail> {
        let others = usize::from(shards).saturating_sub(1).max(1);
        let fitting = usize::try_from(bytes).unwrap_or(usize::MAX) / BATCH_BYTES_KEPT;
        let batches_max =
            (BATCHES.min(fitting) / others).clamp(*BATCHES_PER_LANE.start(), *BATCHES_PER_LANE.end());
        let bells: Vec<Arc<Doorbell>> = (0..shards).map(|_| Arc::default()).collect();
        let mut sets: Vec<Vec<Option<Lane>>> =
            (0..shards).map(|_| (0..2 * shards).map(|_| None).collect()).collect();
        for (low, high, first) in pairs(shards) {
            let (low_asks, high_asked) = mailbox::ring(batches_max);
            let (high_asks, low_asked) = mailbox::ring(batches_max);
            let (low_answers, high_answered) = mailbox::ring(batches_max);
            let (high_answers, low_answered) = mailbox::ring(batches_max);
            let lane = |other: u16, asks_out, asks_in, answers_out, answers_in| {
                Some(Lane {
                    asks_out,
                    asks_in,
                    answers_out,
                    answers_in,
                    batches_max,
                    under_way: 0,
                    bytes_under_way: 0,
                    asks_under_way: 0,
                    open: Box::default(),
                    spare: Vec::new(),
                    released: Vec::new(),
                    reports: Vec::new(),
                    reports_since: 0,
                    now: 0,
                    line: VecDeque::new(),
                    bell: bells[other as usize].clone(),
                })
            };
            sets[low as usize][(first + high) as usize] =
                lane(high, low_asks, low_asked, low_answers, low_answered);
            sets[high as usize][(first + low) as usize] =
                lane(low, high_asks, high_asked, high_answers, high_answered);
        }
        let news = news::among(&bells);
        let mail = |((lanes, news), bell)| Mail {
            lanes,
            in_use: shards.into(),
            news,
            shards,
            bell,
            wakers: vec![None; shards as usize],
        };
        sets.into_iter().zip(news).zip(bells).map(mail).collect()
    }

    /// How to wake the other shards' loops.
    pub(crate) fn connect(&mut self, wakers: &[Arc<dyn Waker>]) {
        self.wakers = wakers.iter().cloned().map(Some).collect();
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.shards == 1
    }

    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// The lane with this number, which is that of the shard it leads to, or its express number; `None` for the own shard.
    pub(crate) fn lane(&mut self, lane: u16) -> Option<&mut Lane> {
        if usize::from(lane) >= self.in_use {
            self.open_express();
        }
        self.lanes.get_mut(lane as usize)?.as_mut()
    }

    /// The number of a shard's express lane.
    pub(crate) fn express(&self, shard: u16) -> u16 {
        self.shards + shard
    }

    /// Whether a lane is one of those that no held key stops.
    #[inline]
    pub(crate) fn is_express(&self, lane: u16) -> bool {
        lane >= self.shards
    }

    /// The shard that a lane leads to.
    #[inline]
    pub(crate) fn shard_of(&self, lane: u16) -> u16 {
        if self.is_express(lane) { lane - self.shards } else { lane }
    }

    /// Lanes in which something may come.
    #[inline]
    pub(crate) fn lanes(&mut self) -> u16 {
        if self.in_use < self.lanes.len() && self.bell.is_express() {
            self.open_express();
        }
        self.in_use as u16
    }

    #[cold]
    fn open_express(&mut self) {
        let now = self.lanes.iter().flatten().map(|lane| lane.now).max().unwrap_or(0);
        self.in_use = self.lanes.len();
        self.pass_time(now);
        self.lanes.iter().flatten().for_each(|lane| lane.bell.open_express());
    }

    /// The first shard to which fewer than `count` short requests can be sent now.
    pub(crate) fn shard_without_places(&self, count: usize) -> Option<u16> {
        let full = |lane: &Option<Lane>| lane.as_ref().is_some_and(|lane| lane.places() < count);
        self.lanes[..usize::from(self.shards)].iter().position(full).map(|shard| shard as u16)
    }

    /// Whether a connection waits in a line though there are places for it.
    pub(crate) fn has_resumable(&self) -> bool {
        self.lanes[..self.in_use].iter().flatten().any(Lane::has_resumable)
    }

    /// Takes all connections out of their lines for which there are places now.
    pub(crate) fn take_resumable(&mut self, resumed: &mut Vec<ConnId>) {
        self.lanes[..self.in_use].iter_mut().flatten().for_each(|lane| lane.take_resumable(resumed));
    }

    /// Shows the other shards what was written for them, and wakes those that sleep.
    pub(crate) fn publish(&mut self) {
        for (lane, waker) in self.lanes[..self.in_use].iter_mut().zip(self.wakers.iter().cycle()) {
            let wake = lane.as_mut().is_some_and(Lane::publish);
            waker.iter().filter(|_| wake).for_each(|waker| waker.wake());
        }
    }

    /// Adds to what another shard is told; `None`: anything may have changed.
    pub(crate) fn add_news(&mut self, shard: u16, news: Option<&[u8]>) {
        if let Some(Some(lane)) = self.news.get_mut(usize::from(shard)) {
            lane.add(news);
        }
    }

    /// What another shard has told; `None` in it: anything may have changed.
    pub(crate) fn next_news(&mut self, shard: u16) -> Option<Option<Vec<u8>>> {
        self.news.get_mut(usize::from(shard))?.as_mut()?.next()
    }

    /// Shows the other shards what they are told, and wakes those that sleep: before any answer of this turn leaves.
    pub(crate) fn publish_news(&mut self) {
        for (lane, waker) in self.news.iter_mut().zip(&self.wakers) {
            let wake = lane.as_mut().is_some_and(NewsLane::publish);
            waker.iter().filter(|_| wake).for_each(|waker| waker.wake());
        }
    }

    /// Says that this shard is about to sleep. False: something came, do not.
    pub(crate) fn announce_sleep(&mut self) -> bool {
        self.bell.announce_sleep();
        !self.has_come()
    }

    /// Whether another shard has sent something that is not read yet.
    pub(crate) fn has_come(&mut self) -> bool {
        let lanes = usize::from(self.lanes());
        self.has_news() || !self.lanes[..lanes].iter_mut().flatten().all(Lane::is_quiet)
    }

    /// Whether another shard has told something that is not taken yet.
    pub(crate) fn has_news(&mut self) -> bool {
        self.news.iter_mut().flatten().any(NewsLane::has_come)
    }

    /// A turn of this shard begins.
    pub(crate) fn begin_turn(&mut self, now: Millis) {
        self.bell.awake();
        self.pass_time(now);
    }

    /// What is sent from now on goes with this time.
    pub(crate) fn pass_time(&mut self, now: Millis) {
        self.lanes[..self.in_use].iter_mut().flatten().for_each(|lane| lane.now = now);
    }

    /// Whether every request has gone, and all that was lent.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.lanes[..self.in_use].iter().flatten().all(Lane::has_sent_all)
    }

    /// Gives back what batches beyond so many bytes hold that are not in use.
    pub(crate) fn trim(&mut self, bytes: usize) {
        let each = bytes / self.in_use;
        self.lanes[..self.in_use].iter_mut().flatten().for_each(|lane| lane.trim(each));
    }

    /// Memory of this shard's batches.
    pub(crate) fn bytes_held(&self) -> usize {
        let lanes: usize = self.lanes[..self.in_use].iter().flatten().map(Lane::bytes_held).sum();
        lanes + self.news.iter().flatten().map(NewsLane::bytes_held).sum::<usize>()
    }

    /// Requests at other shards.
    pub(crate) fn under_way(&self) -> usize {
        self.lanes[..self.in_use].iter().flatten().map(|lane| lane.asks_under_way).sum()
    }
}

/// Each two shards, lower and higher, once for their lanes and once for their express lanes, with the number of the first of these.
fn pairs(shards: u16) -> impl Iterator<Item = (u16, u16, u16)> {
    let pairs =
        move |first| (0..shards).flat_map(move |low| (low + 1..shards).map(move |high| (low, high, first)));
    [0, shards].into_iter().flat_map(pairs)
}

#[cfg(test)]
mod tests;
