//! The seam between a transport and whatever carries out its work requests.
//!
//! Two providers have the same interface: [`crate::device`], real ones by way of libibverbs, and [`crate::sim`], which is simulated.
//! One list of tests runs on both.
//!
//! Values keep alive what they need: a region its domain and its memory; a queue pair its domain and its queues; all of them the
//! opened device. So they can be dropped in any order. What the library refuses to destroy stays, and its memory with it.

use crate::completion::{Completion, Event};
use crate::error::{PostError, VerbsError};
use crate::gid::Gid;
use crate::memory::Memory;
use crate::path::{Mtu, Path, Peer};
use crate::region::Region;
use crate::work::{Piece, Work};
use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// What others may do with memory, beside the device that writes what it receives there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: messages are sent from there and received there.
    Local,
    RemoteRead,
    RemoteWrite,
    RemoteReadWrite,
}

impl Access {
    pub(crate) fn reads(self) -> bool {
        matches!(self, Access::RemoteRead | Access::RemoteReadWrite)
    }

    pub(crate) fn writes(self) -> bool {
        matches!(self, Access::RemoteWrite | Access::RemoteReadWrite)
    }
}

/// What a device can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub ports: u8,
    pub pairs: u32,
    /// Requests of one queue.
    pub requests: u32,
    pub completions: u32,
    pub regions: u32,
    /// Bytes of one region.
    pub region_bytes: u64,
    /// Requests of a shared receive queue; 0: there is none.
    pub shared_receives: u32,
    /// READs that a queue pair may have under way, and that one answers at a time.
    pub reads_out: u8,
    pub reads_in: u8,
}

/// A port as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub is_up: bool,
    /// Packets over Ethernet, not over InfiniBand.
    pub is_ethernet: bool,
    /// `None`: a number that this code does not know.
    pub mtu: Option<Mtu>,
    /// Bytes of a message, at most.
    pub message_bytes: u32,
}

/// What a queue pair is made for.
#[derive(Debug)]
pub struct PairOptions<'o, V: Verbs> {
    pub send_queue: &'o V::Queue,
    pub receive_queue: &'o V::Queue,
    /// Receives are taken from there; otherwise from the queue pair's own.
    pub shared: Option<&'o V::Receives>,
    /// Requests to send that are not over, at most.
    pub sends: u32,
    /// Receives of its own; ignored with a shared queue.
    pub receives: u32,
    /// Bytes of an inline payload that it is to take, at least. A device may give less: see [`QueuePair::inline_bytes`].
    pub inline_bytes: u32,
}

/// How far a queue pair has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairState {
    Reset,
    /// Receives can be posted.
    Initialized,
    ReadyToReceive,
    ReadyToSend,
    /// All that was posted is flushed, and so are sends that will be. Of receives that will be, some devices never tell.
    Failed,
    /// By its number in verbs.
    Other(u32),
}

/// An opened device.
pub trait Verbs: Sized + Debug {
    /// Whose memory and queue pairs may be used together.
    type Domain: Debug;
    type Region: Region + Debug;
    type Queue: CompletionQueue + Debug;
    type Receives: SharedReceives<Region = Self::Region> + Debug;
    type Pair: QueuePair<Region = Self::Region> + Debug;

    fn limits(&self) -> Limits;

    /// # Errors
    /// There is no such port, or the device is gone.
    fn port(&self, port: u8) -> Result<Port, VerbsError>;

    /// # Errors
    /// There is no such port or GID, or the device is gone.
    fn gid(&self, port: u8, index: u8) -> Result<Gid, VerbsError>;

    /// # Errors
    /// The device has no more of them, or is gone.
    fn domain(&self) -> Result<Self::Domain, VerbsError>;

    /// Registers memory. Never on the path of a request: it pins pages.
    ///
    /// # Errors
    /// The limit of locked memory (see [`VerbsError::cure`]) or of the device is reached, or the device is gone.
    fn register(
        &self,
        domain: &Self::Domain,
        memory: Arc<dyn Memory>,
        access: Access,
    ) -> Result<Self::Region, VerbsError>;

    /// A queue for at least so many completions. More at a time overrun it, and then it fails: whoever posts counts.
    ///
    /// # Errors
    /// More than the device can hold, or it is gone.
    fn completion_queue(&self, completions: u32) -> Result<Self::Queue, VerbsError>;

    /// # Errors
    /// The device has none, or not so long ones, or is gone.
    fn shared_receives(&self, domain: &Self::Domain, receives: u32) -> Result<Self::Receives, VerbsError>;

    /// # Errors
    /// The device has no more of them, or not such ones, or is gone.
    fn queue_pair(
        &self,
        domain: &Self::Domain,
        options: &PairOptions<'_, Self>,
    ) -> Result<Self::Pair, VerbsError>;

    /// Readable when there is an event; a simulated device has no descriptor.
    fn events(&self) -> Option<BorrowedFd<'_>>;

    /// The next thing that the device tells on its own, if there is one; does not wait.
    ///
    /// # Errors
    /// Events cannot be read any more.
    fn next_event(&self) -> Result<Option<Event>, VerbsError>;
}

/// Where completions come to.
pub trait CompletionQueue {
    /// Takes completions, as many as there are and fit; returns how many.
    ///
    /// # Errors
    /// The queue has failed.
    fn poll(&self, completions: &mut [Completion]) -> Result<usize, VerbsError>;

    /// Asks for a notice when the next completion comes; it is no longer asked for when it has come. What came before is not
    /// told, so poll once more after this and before sleeping. `solicited`: only for one whose sender asked for it, or a failure.
    ///
    /// # Errors
    /// The queue has failed.
    fn arm(&self, solicited: bool) -> Result<(), VerbsError>;

    /// Readable when there is a notice; a simulated queue has no descriptor.
    fn notices(&self) -> Option<BorrowedFd<'_>>;

    /// Takes the notices that have come; whether there were any.
    ///
    /// # Errors
    /// They cannot be read any more.
    fn take_notices(&self) -> Result<bool, VerbsError>;
}

/// Receives that several queue pairs take from.
pub trait SharedReceives {
    type Region;

    /// # Errors
    /// ENOMEM: no room, until completions were polled. EINVAL: a piece is not inside of its region, or there are too many.
    fn post(&self, id: u64, pieces: &[Piece<'_, Self::Region>]) -> Result<(), VerbsError>;
}

/// One end of a reliable connection.
pub trait QueuePair {
    type Region;

    fn number(&self) -> u32;

    /// Bytes of an inline payload, at most.
    fn inline_bytes(&self) -> u32;

    /// # Errors
    /// The device is gone.
    fn state(&self) -> Result<PairState, VerbsError>;

    /// From reset: receives can be posted from here on. `access`: what the peer may do, in regions that grant it as well.
    ///
    /// # Errors
    /// It is in another state, there is no such port, or the device is gone.
    fn initialize(&self, port: u8, access: Access) -> Result<(), VerbsError>;

    /// From initialized: messages of this peer are received from here on.
    ///
    /// # Errors
    /// It is in another state, the path or the peer cannot be, or the device is gone.
    fn ready_to_receive(&self, path: &Path, peer: &Peer) -> Result<(), VerbsError>;

    /// From ready to receive.
    ///
    /// # Errors
    /// It is in another state, the path cannot be, or the device is gone.
    fn ready_to_send(&self, path: &Path) -> Result<(), VerbsError>;

    /// To the error state, from any: all that was posted is flushed. Nothing that the peer sends takes effect after this returned.
    ///
    /// # Errors
    /// The device is gone.
    fn fail(&self) -> Result<(), VerbsError>;

    /// # Errors
    /// ENOMEM: no room, until completions were polled. EINVAL: a piece is not inside of its region, there are too many, or
    /// receives are shared.
    fn post_receive(&self, id: u64, pieces: &[Piece<'_, Self::Region>]) -> Result<(), VerbsError>;

    /// Posts requests in their order, up to [`crate::work::DOORBELL_MAX`] of them with one doorbell.
    ///
    /// # Errors
    /// ENOMEM: no room, until completions were polled. EINVAL: a payload is not inside of its region, has too many pieces or is
    /// too long for inline, or the state allows no sending.
    fn post(&self, works: &[Work<'_, Self::Region>]) -> Result<(), PostError>;
}
