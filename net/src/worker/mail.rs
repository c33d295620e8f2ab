//! What shards say to each other, and the rings that carry it.
//!
//! ```text
//!   shard A                          shard B
//!   Asks  ---------- asks ---------> served in batches, as a client's requests are
//!   answers <------- answers -------
//! ```
//!
//! A place for the answer is reserved before a request is sent: at most [`ANSWERS`] of A's requests are under
//! way to B, and B's ring of answers to A is that long. So an answer never waits, whatever B's other rings look
//! like, and two shards that flood each other cannot lock. Who finds no place lets the connection wait.
//!
//! Buffers travel with the request and come back with the answer.

use super::owned::{Options, OwnedReply};
use crate::session::{Deadline, Once};
use crate::transport::{ConnId, Waker};
use std::collections::VecDeque;
use std::sync::Arc;
use torc_engine::command::{Millis, Op};
use torc_engine::runtime::mailbox::{self, Doorbell, Receiver, Sender};
use torc_engine::segments::Lent;

/// Requests of one shard that may be under way to one other.
pub(crate) const ANSWERS: usize = 1024;
/// Room for requests and for notes, which need no answer.
const ASKS: usize = 2 * ANSWERS;

/// Where an answer goes: a place in a connection's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) conn: ConnId,
    pub(crate) sequence: u32,
}

/// Something for another shard.
#[derive(Debug)]
pub(crate) enum Letter {
    Ask(Ask),
    /// Lent bytes come home.
    Release(Lent),
    /// The client is gone; a value that it was sending is not to be waited for.
    Forget(ConnId),
}

/// A request; `bytes` are the key and then the value.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) from: Address,
    pub(crate) what: What,
    pub(crate) bytes: Vec<u8>,
    pub(crate) key_end: usize,
    pub(crate) once: Option<Once>,
    /// Not begun after it.
    pub(crate) deadline: Deadline,
}

impl Ask {
    /// A request without key, number and deadline.
    pub(crate) fn plain(from: Address, what: What, bytes: Vec<u8>) -> Ask {
        Ask { from, what, bytes, key_end: 0, once: None, deadline: Deadline::NONE }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Keyed(Op<'static>),
    UploadBegin { op: Op<'static>, bytes: u64 },
    UploadData,
    UploadEnd(Option<Options>),
    UploadAbort,
    Flush { at: Option<Millis> },
    Scan { cursor: u64, count: u32 },
}

/// The answer; `reply` is `None` for what only gives back its place and buffer.
#[derive(Debug)]
pub(crate) struct Back {
    pub(crate) to: Address,
    pub(crate) reply: Option<OwnedReply>,
    pub(crate) buffer: Vec<u8>,
}

/// One shard's ends of the four rings between it and another.
pub(crate) struct Peer {
    asks_out: Sender<Letter>,
    asks_in: Receiver<Letter>,
    answers_out: Sender<Back>,
    answers_in: Receiver<Back>,
    /// Requests without an answer yet.
    under_way: usize,
    /// Releases and forgets, which have no place reserved and go when there is room.
    notes: VecDeque<Letter>,
    bell: Arc<Doorbell>,
}

impl Peer {
    /// Whether a request may be sent now.
    pub(crate) fn has_place(&self) -> bool {
        self.under_way < ANSWERS
    }

    /// Sends a request; there must be a place.
    pub(crate) fn ask(&mut self, ask: Ask) {
        assert!(self.has_place(), "a place is asked for first");
        self.under_way += 1;
        let sent = self.asks_out.send(Letter::Ask(ask));
        assert!(sent.is_ok(), "requests and notes together fit: notes leave ANSWERS places");
    }

    pub(crate) fn release(&mut self, lent: Lent) {
        self.notes.push_back(Letter::Release(lent));
    }

    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.notes.push_back(Letter::Forget(conn));
    }

    pub(crate) fn next_letter(&mut self) -> Option<Letter> {
        self.asks_in.receive()
    }

    pub(crate) fn answer(&mut self, back: Back) {
        let sent = self.answers_out.send(back);
        assert!(sent.is_ok(), "the place was reserved by the one who asked");
    }

    pub(crate) fn next_answer(&mut self) -> Option<Back> {
        let back = self.answers_in.receive()?;
        self.under_way -= 1;
        Some(back)
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    fn is_quiet(&mut self) -> bool {
        self.asks_in.is_empty() && self.answers_in.is_empty()
    }

    /// Shows the other side all that was written. True if it must be woken.
    fn publish(&mut self) -> bool {
        while let Some(note) = self.notes.pop_front() {
            let full = self.asks_out.depth() >= ASKS - (ANSWERS - self.under_way);
            let refused = if full { Some(note) } else { self.asks_out.send(note).err() };
            if let Some(note) = refused {
                self.notes.push_front(note);
                break;
            }
        }
        let asked = self.asks_out.publish();
        let answered = self.answers_out.publish();
        (asked || answered) && self.bell.ring()
    }
}

/// A shard's mailboxes to all others.
pub(crate) struct Mail {
    /// By shard; `None` at the shard's own place.
    peers: Vec<Option<Peer>>,
    /// Rung by the others when this shard sleeps.
    bell: Arc<Doorbell>,
    wakers: Vec<Option<Arc<dyn Waker>>>,
}

impl Mail {
    /// Mailboxes among `shards` shards, one set for each.
    pub(crate) fn among(shards: u16) -> Vec<Mail> {
        let bells: Vec<Arc<Doorbell>> = (0..shards).map(|_| Arc::default()).collect();
        let mut sets: Vec<Vec<Option<Peer>>> =
            (0..shards).map(|_| (0..shards).map(|_| None).collect()).collect();
        for low in 0..shards {
            for high in low + 1..shards {
                let (low_asks, high_asked) = mailbox::ring(ASKS);
                let (high_asks, low_asked) = mailbox::ring(ASKS);
                let (low_answers, high_answered) = mailbox::ring(ANSWERS);
                let (high_answers, low_answered) = mailbox::ring(ANSWERS);
                let peer = |other: u16, asks_out, asks_in, answers_out, answers_in| {
                    let bell = bells[other as usize].clone();
                    let notes = VecDeque::new();
                    Some(Peer { asks_out, asks_in, answers_out, answers_in, under_way: 0, notes, bell })
                };
                sets[low as usize][high as usize] =
                    peer(high, low_asks, low_asked, low_answers, low_answered);
                sets[high as usize][low as usize] =
                    peer(low, high_asks, high_asked, high_answers, high_answered);
            }
        }
        let mail = |(peers, bell)| Mail { peers, bell, wakers: vec![None; shards as usize] };
        sets.into_iter().zip(bells).map(mail).collect()
    }

    /// How to wake the other shards' loops.
    pub(crate) fn connect(&mut self, wakers: &[Arc<dyn Waker>]) {
        self.wakers = wakers.iter().cloned().map(Some).collect();
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.peers.len() == 1
    }

    pub(crate) fn shards(&self) -> u16 {
        self.peers.len() as u16
    }

    /// The other shard; `None` for the own one.
    pub(crate) fn peer(&mut self, shard: u16) -> Option<&mut Peer> {
        self.peers.get_mut(shard as usize)?.as_mut()
    }

    /// Publishes to all and wakes those who sleep.
    pub(crate) fn publish(&mut self) {
        for (peer, waker) in self.peers.iter_mut().zip(&self.wakers) {
            let wake = peer.as_mut().is_some_and(Peer::publish);
            waker.iter().filter(|_| wake).for_each(|waker| waker.wake());
        }
    }

    /// Says that this shard is about to sleep. False: something came, do not.
    pub(crate) fn announce_sleep(&mut self) -> bool {
        self.bell.announce_sleep();
        self.peers.iter_mut().flatten().all(Peer::is_quiet)
    }

    pub(crate) fn awake(&self) {
        self.bell.awake();
    }

    /// Whether every note has gone.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.peers.iter().flatten().all(|peer| peer.notes.is_empty())
    }

    /// Requests at other shards.
    pub(crate) fn under_way(&self) -> usize {
        self.peers.iter().flatten().map(Peer::under_way).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(sequence: u32) -> Ask {
        let from = Address { conn: ConnId { index: 1, generation: 2 }, sequence };
        Ask::plain(from, What::Flush { at: None }, Vec::new())
    }

    #[test]
    fn two_shards_that_flood_each_other_still_answer() {
        let mut mail = Mail::among(2);
        let (left, right) = mail.split_at_mut(1);
        let (left, right) = (&mut left[0], &mut right[0]);
        for sequence in 0..ANSWERS as u32 {
            left.peer(1).unwrap().ask(ask(sequence));
            right.peer(0).unwrap().ask(ask(sequence));
        }
        assert!(!left.peer(1).unwrap().has_place());
        left.publish();
        right.publish();
        for side in [&mut *left, &mut *right] {
            let other = 1 - side.peers.iter().position(Option::is_none).unwrap() as u16;
            let peer = side.peer(other).unwrap();
            while let Some(Letter::Ask(ask)) = peer.next_letter() {
                peer.answer(Back { to: ask.from, reply: None, buffer: ask.bytes });
            }
            side.publish();
        }
        let answers = std::iter::from_fn(|| left.peer(1).unwrap().next_answer());
        assert!(answers.map(|back| back.to.sequence).eq(0..ANSWERS as u32));
        assert!(left.peer(1).unwrap().has_place());
    }

    #[test]
    fn nobody_sleeps_over_a_letter() {
        let mut mail = Mail::among(3);
        assert!(mail[2].announce_sleep());
        mail[0].peer(2).unwrap().ask(ask(0));
        assert!(mail[0].peer(2).unwrap().publish(), "the sleeper must be woken");
        mail[2].awake();
        assert!(!mail[2].announce_sleep());
    }
}
