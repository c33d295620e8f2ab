//! A pair of rings as the server makes it.

use crate::end::End;
use crate::map::{Access, Map, create, seal};
use crate::words::WORDS_BYTES;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use torc_proto::native::{Descriptor, DescriptorKind};

/// The server's end, and the files for the client.
#[derive(Debug)]
pub struct Pair {
    pub end: End,
    /// In the order of [`Pair::descriptors`].
    pub files: [OwnedFd; 2],
}

impl Pair {
    /// Rings of these lengths, powers of two.
    ///
    /// # Errors
    /// The kernel refused memory, a descriptor, or a seal (the one against later writers is there since Linux 5.1).
    pub fn new(request_ring_bytes: usize, answer_ring_bytes: usize) -> io::Result<Pair> {
        let server_file = create(c"torc-answers", WORDS_BYTES + answer_ring_bytes)?;
        let own = Map::new(server_file.as_fd(), WORDS_BYTES + answer_ring_bytes, Access::ReadWrite)?;
        seal(server_file.as_fd(), true)?;
        let client_file = create(c"torc-requests", WORDS_BYTES + request_ring_bytes)?;
        seal(client_file.as_fd(), false)?;
        let other = Map::new(client_file.as_fd(), WORDS_BYTES + request_ring_bytes, Access::Read)?;
        Ok(Pair { end: End::new(own, other), files: [server_file, client_file] })
    }

    /// What the files are, for the client.
    pub fn descriptors(shard: u16, request_ring_bytes: usize, answer_ring_bytes: usize) -> Vec<Descriptor> {
        let entry = |kind: DescriptorKind, ring_bytes: usize| Descriptor {
            kind: kind as u16,
            shard,
            bytes: (WORDS_BYTES + ring_bytes) as u64,
        };
        vec![
            entry(DescriptorKind::ServerRing, answer_ring_bytes),
            entry(DescriptorKind::ClientRing, request_ring_bytes),
        ]
    }
}
