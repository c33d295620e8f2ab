//! How a queue pair comes to its peer.

use torc_proto::native::pair::{MESSAGES, PairEnd};
use torc_verbs::error::VerbsError;
use torc_verbs::gid::Gid;
use torc_verbs::path::{BITS_24, Mtu, Path, Peer};
use torc_verbs::seam::QueuePair;

/// Why two ends do not come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the other side speaks other messages")]
    Version,
    #[error("the other side told of something that cannot be")]
    Impossible,
    #[error("{0}")]
    Verbs(#[from] VerbsError),
}

/// The port that queue pairs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub port: u8,
    /// Index of our GID, and the GID.
    pub gid_index: u8,
    pub gid: Gid,
    pub mtu: Mtu,
    /// READs that are answered at a time, and may be under way.
    pub reads_in: u8,
    pub reads_out: u8,
    pub traffic_class: u8,
}

/// Bytes of a message that either side must at least take.
pub(crate) const MESSAGE_BYTES_MIN: u32 = 256;
const MESSAGE_BYTES_MAX: u32 = 1 << 24;

impl Place {
    /// What is told of a queue pair; receives and windows are the caller's. `first`: 24 bits that are hard to guess.
    pub(crate) fn end(&self, number: u32, first: u32) -> PairEnd {
        PairEnd {
            version_min: MESSAGES,
            version_max: MESSAGES,
            gid: self.gid.0,
            number,
            first: first & BITS_24,
            mtu: self.mtu.bytes(),
            reads: self.reads_in.into(),
            ..PairEnd::default()
        }
    }

    /// Brings a queue pair that can receive already to where it can send. `own` is what the other side was, or will be, told.
    ///
    /// # Errors
    /// [`Refused`]; the queue pair is of no use then.
    pub(crate) fn join<P: QueuePair>(&self, pair: &P, own: &PairEnd, peer: &PairEnd) -> Result<(), Refused> {
        let mtu = Mtu::of_bytes(peer.mtu).ok_or(Refused::Impossible)?.min(self.mtu);
        let mut path = Path::new(self.port, self.gid_index, mtu);
        path.first = own.first;
        path.traffic_class = self.traffic_class;
        path.reads_in = self.reads_in;
        path.reads_out = self.reads_out.min(u8::try_from(peer.reads).unwrap_or(u8::MAX));
        let peer = Peer { number: peer.number, first: peer.first, gid: Gid(peer.gid) };
        pair.ready_to_receive(&path, &peer)?;
        pair.ready_to_send(&path)?;
        Ok(())
    }

    /// The MTU that is used with this peer.
    pub(crate) fn common_mtu(&self, peer: &PairEnd) -> u32 {
        Mtu::of_bytes(peer.mtu).unwrap_or(self.mtu).min(self.mtu).bytes()
    }
}

/// Whether an end can be one.
pub(crate) fn check(peer: &PairEnd) -> Result<(), Refused> {
    if peer.version_min > MESSAGES || peer.version_max < MESSAGES {
        return Err(Refused::Version);
    }
    let is_possible = peer.number <= BITS_24
        && peer.first <= BITS_24
        && Mtu::of_bytes(peer.mtu).is_some()
        && peer.receives > 0
        && (peer.reads > 0 || peer.lending.bytes == 0)
        && (MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&peer.receive_bytes)
        && !Gid(peer.gid).is_zero();
    if is_possible { Ok(()) } else { Err(Refused::Impossible) }
}
