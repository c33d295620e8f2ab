//! What clients on the same host may read without asking: the memory of each shard, and the clock.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use torc_proto::native::{Descriptor, DescriptorKind};

/// Descriptors of it, once all shards are made; none where memory is not shared.
#[derive(Debug, Default)]
pub(crate) struct Readable(OnceLock<Vec<(Descriptor, OwnedFd)>>);

impl Readable {
    /// # Errors
    /// Those of `fstat`.
    pub(crate) fn set(&self, shards: Vec<OwnedFd>, clock: OwnedFd) -> std::io::Result<()> {
        let shards = (0..).zip(shards).map(|(shard, file)| (DescriptorKind::Shard, shard, file));
        let described = shards.chain([(DescriptorKind::Clock, 0, clock)]).map(|(kind, shard, file)| {
            let file = File::from(file);
            let bytes = file.metadata()?.len();
            Ok((Descriptor { kind: kind as u16, shard, bytes }, file.into()))
        });
        // Set once: a start happens once.
        let _ = self.0.set(described.collect::<std::io::Result<_>>()?);
        Ok(())
    }

    /// What they are, in the order of [`Readable::files`].
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = Descriptor> {
        self.all().map(|(descriptor, _)| *descriptor)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all().map(|(_, file)| file.as_fd())
    }

    fn all(&self) -> impl Iterator<Item = &(Descriptor, OwnedFd)> {
        self.0.get().into_iter().flatten()
    }
}
