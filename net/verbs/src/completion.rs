//! What became of a work request.

/// A work request that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// As it was given when the request was posted.
    pub id: u64,
    /// The number of its queue pair.
    pub pair: u32,
    pub result: Result<Done, Failure>,
}

impl Completion {
    /// To fill an array with.
    pub const NONE: Completion = Completion { id: 0, pair: 0, result: Ok(Done::Sent) };
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Sent,
    Written,
    Read,
    /// A message of so many bytes lies in the receive that was posted.
    Received {
        len: u32,
        immediate: Option<u32>,
    },
    /// The peer has written so many bytes to our memory, and says so; it took a receive, whose memory is as it was.
    WrittenByPeer {
        len: u32,
        immediate: u32,
    },
}

/// Why nothing was done. The queue pair is in the error state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the message does not fit into the receive")]
    TooLong,
    #[error("our own memory is not registered, or not for this")]
    Local,
    #[error("the queue pair failed before this was done")]
    Flushed,
    #[error("the peer cannot do this, or has no room for it")]
    Invalid,
    #[error("the peer grants no access to this memory")]
    Access,
    #[error("the peer failed to do this")]
    Remote,
    #[error("nothing came back: the peer is gone, or the path to it")]
    NoAnswer,
    #[error("the peer posted no receive for too long")]
    NotReady,
    #[error("status {status}, vendor's error {vendor}")]
    Other { status: u32, vendor: u32 },
}

/// What a device tells on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    PortUp {
        port: u8,
    },
    PortDown {
        port: u8,
    },
    /// The table of GIDs changed, or something else that paths go by.
    PortChanged {
        port: u8,
    },
    /// A queue pair went to the error state without a completion that says so.
    PairFailed {
        pair: u32,
    },
    /// The last receive of a queue pair that failed was taken from a shared queue.
    PairDrained {
        pair: u32,
    },
    /// A completion queue overran, or a shared queue failed: nothing comes from it any more.
    QueueFailed,
    /// The device is gone, or has to be reset.
    DeviceFailed,
    /// By its number in verbs.
    Other(u32),
}
