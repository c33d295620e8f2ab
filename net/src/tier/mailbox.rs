//! Where the tier's threads put what they say to a shard.

use super::messages::{FetchedPage, Reply, Told};
use crate::transport::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Pages that were read for a shard and wait there; who reads waits with others.
pub(super) const FETCHED_MAX: usize = 8;
/// What was told of a shard's keys and waits there; the threads that read tables wait with more.
const TOLD_MAX: usize = 4;

/// Replies to one shard, for the tier's threads.
#[derive(Clone)]
pub(super) struct Mailbox {
    replies: Sender<Reply>,
    pub(super) fetched: async_channel::Sender<FetchedPage>,
    pub(super) told: SyncSender<Told>,
    waker: Arc<dyn Waker>,
    /// The shard was woken, and has not looked since.
    is_rung: Arc<AtomicBool>,
}

/// What came for a shard.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) replies: Receiver<Reply>,
    pub(super) fetched: async_channel::Receiver<FetchedPage>,
    pub(super) told: Receiver<Told>,
    pub(super) is_rung: Arc<AtomicBool>,
}

impl Mailbox {
    /// One that wakes its shard by `waker`, and what comes of it.
    pub(super) fn new(waker: Arc<dyn Waker>) -> (Mailbox, Inbox) {
        Mailbox::with_room(waker, TOLD_MAX)
    }

    /// As [`Mailbox::new`], with room for so much that is told.
    pub(super) fn with_room(waker: Arc<dyn Waker>, told_max: usize) -> (Mailbox, Inbox) {
        let ((sender, replies), (fetched_in, fetched)) = (channel(), async_channel::bounded(FETCHED_MAX));
        let (told_in, told) = sync_channel(told_max);
        let is_rung = Arc::new(AtomicBool::new(false));
        let inbox = Inbox { replies, fetched, told, is_rung: is_rung.clone() };
        (Mailbox { replies: sender, fetched: fetched_in, told: told_in, waker, is_rung }, inbox)
    }

    /// False: the shard has ended.
    pub(super) fn send(&self, reply: Reply) -> bool {
        self.ring(self.replies.send(reply).is_ok())
    }

    /// Waits while many other pages wait. False: the shard has ended.
    pub(super) fn give(&self, page: FetchedPage) -> bool {
        self.ring(self.fetched.send_blocking(page).is_ok())
    }

    /// As [`Mailbox::give`], without keeping the thread.
    pub(super) async fn give_later(&self, page: FetchedPage) {
        self.ring(self.fetched.send(page).await.is_ok());
    }

    /// Has the shard look, though nothing was said.
    pub(super) fn nudge(&self) {
        self.ring(true);
    }

    /// As [`Mailbox::give`], for what recovery has found.
    pub(super) fn tell(&self, told: Told) -> bool {
        self.ring(self.told.send(told).is_ok())
    }

    pub(super) fn ring(&self, is_sent: bool) -> bool {
        // SeqCst, as where the shard looks: either the shard sees the reply in this look, or it is woken for another.
        if is_sent && !self.is_rung.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
        is_sent
    }
}

/// The mailboxes of all shards, and who has ended.
pub(super) struct Shards {
    mailboxes: Vec<Mailbox>,
    pub(super) ended: Vec<bool>,
}

impl Shards {
    pub(super) fn new(mailboxes: Vec<Mailbox>) -> Shards {
        Shards { ended: vec![false; mailboxes.len()], mailboxes }
    }

    pub(super) fn count(&self) -> u16 {
        self.mailboxes.len() as u16
    }

    /// Has all shards look.
    pub(super) fn nudge(&self) {
        self.mailboxes.iter().for_each(Mailbox::nudge);
    }

    /// False: the shard has ended.
    pub(super) fn send(&self, shard: u16, reply: Reply) -> bool {
        !self.ended[usize::from(shard)] && self.mailboxes[usize::from(shard)].send(reply)
    }
}
