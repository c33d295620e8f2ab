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
    /// The queue pair has failed, and the socket is being closed.
    Closing,
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

/// The end of a connection, as far as it has come.
#[derive(Debug)]
pub(super) struct Ending {
    /// Since the socket was gone.
    pub(super) since: Instant,
    /// What the socket had not sent.
    pub(super) pieces: Pieces,
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
    /// Bytes were told that the worker may answer with room for the next: those are read a turn later.
    pub(super) waits_for_room: bool,
    /// Where the worker wants the next bytes.
    pub(super) room: Option<Room>,
    pub(super) sending: Pieces,
    pub(super) sent: usize,
    pub(super) notice: Notice,
    /// In the list of those that the next turn goes on with.
    pub(super) touched: bool,
    pub(super) ending: Option<Ending>,
    /// What it has sent or taken since the last look at the time.
    pub(super) heard: bool,
    /// When it was heard of last.
    pub(super) heard_at: Instant,
    pub(super) pinged: bool,
    /// Rises with everything that the client takes.
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
            waits_for_room: false,
            room: None,
            sending: Pieces::default(),
            sent: 0,
            notice: Notice::Soon,
            touched: false,
            ending: None,
            heard: true,
            heard_at: Instant::now(),
            pinged: false,
            progress: 0,
        }
    }

    /// Whether something lies in the lending that cannot be read for want of room.
    pub(super) fn waits_for_pull(&self) -> bool {
        let is_lent = matches!(self.inbox.front(), Some(Inbound::Lent { .. }));
        is_lent && self.read.is_none() && self.reading
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.sent == self.sending.bytes() && self.end.writes_out() == 0
    }
}
