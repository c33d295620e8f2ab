//! What a connection keeps of a request to go on by something else than its socket.

use crate::session::ReplyKind;
use torc_proto::native::PairEnd;

/// A request to go on otherwise, of a part that the turn of `read_ns` has read.
#[derive(Debug)]
pub(crate) struct Attaching {
    pub(super) reply: ReplyKind,
    pub(super) wants: Wants,
    pub(super) read_ns: u64,
}

#[derive(Debug)]
pub(super) enum Wants {
    /// Rings; and to read shards, too?
    Rings { reads: bool },
    /// A queue pair, to be connected with this one.
    Pair(PairEnd),
}
