//! One connection over RDMA: what has come and was not told, what is on its way out.

use crate::transport::{Notice, Pieces};
use std::collections::VecDeque;
use std::time::Instant;
use torc_engine::segments::Room;
use torc_rdma::server::ServerEnd;
use torc_rdma::verbs::seam::Verbs;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client is told of the queue pair: the next that is sent goes over the socket.
    Answering,
    Open,
    /// It is to be closed, when what it was sent last has come to the client; nothing more is taken from it.
    Finishing,
    /// The queue pair has failed, and the socket is being closed.
    Closing,
}

impl Phase {
    /// Whether requests are taken, and answers sent.
    pub(super) fn goes_on(self) -> bool {
        matches!(self, Phase::Answering | Phase::Open)
    }
}

/// Something that has come, in the order of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inbound {
    /// A receive with so many bytes.
    Bytes { number: u16, len: u32 },
    /// So many bytes lie in the client's lending.
    Lent { len: usize },
}

/// Where bytes of the lending are being read to.
#[derive(Debug)]
pub(super) enum Reading {
    Room(Room, u32),
    Pull(u16, u32),
}

#[derive(Debug)]
pub(super) struct Conn<V: Verbs> {
    pub(super) end: ServerEnd<V>,
    pub(super) lane: u32,
    pub(super) phase: Phase,
    /// The worker wants bytes (not paused).
    pub(super) reading: bool,
    pub(super) inbox: VecDeque<Inbound>,
    /// The first of the inbox is being read.
    pub(super) lent_begun: bool,
    pub(super) read: Option<Reading>,
    /// In which look at the queue bytes were told last: the worker may answer with room for the next, so those are read later.
    pub(super) told_at: u64,
    /// Where the worker wants the next bytes.
    pub(super) room: Option<Room>,
    pub(super) sending: Pieces,
    pub(super) sent: usize,
    pub(super) notice: Notice,
    /// Of its requests, those that are in the figures.
    counted: u64,
    /// In the list of those that the next turn goes on with.
    pub(super) touched: bool,
    /// Since when it is [finishing](Phase::Finishing).
    pub(super) finishes_since: Option<Instant>,
    /// What it has sent or taken since the last look at the time.
    pub(super) heard: bool,
    /// When it was heard of last.
    pub(super) heard_at: Instant,
    pub(super) pinged: bool,
    /// Rises with all that leaves for the client, which needs credits and room of it, and with the end of WRITEs.
    pub(super) progress: u64,
}

impl<V: Verbs> Conn<V> {
    pub(super) fn new(end: ServerEnd<V>, lane: u32) -> Conn<V> {
        Conn {
            end,
            lane,
            phase: Phase::Answering,
            reading: true,
            inbox: VecDeque::new(),
            lent_begun: false,
            read: None,
            told_at: 0,
            room: None,
            sending: Pieces::default(),
            sent: 0,
            notice: Notice::Soon,
            counted: 0,
            touched: false,
            finishes_since: None,
            heard: true,
            heard_at: Instant::now(),
            pinged: false,
            progress: 0,
        }
    }

    /// Requests that were posted since this was asked last.
    #[inline]
    pub(super) fn posted_since(&mut self) -> u64 {
        let ever = self.end.posted_ever();
        ever - std::mem::replace(&mut self.counted, ever)
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.sent == self.sending.bytes() && self.end.writes_out() == 0
    }
}
