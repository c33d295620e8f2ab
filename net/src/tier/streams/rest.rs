//! An orderly end under `none`: what comes first is worth most, and nothing is written over for what comes later.

use super::{Added, Shards, Streams, TierFigures};
use crate::tier::messages::Reply;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::stream::WriteError;

/// So many of the largest batches can be written to a stream that is full by what is worth most, before anything of that is written
/// over: for what voids older copies, and what is carried on.
const SPARE_BATCHES: u64 = 2;

impl Streams {
    /// From now on items are added in the order of their worth, and none is written over for one that comes later. Nothing comes of it if
    /// that was said before.
    pub(in crate::tier) fn begin_rest(&mut self) {
        // Nor is what is worth less.
        self.asking = None;
        for super::Stream { writer, rest_from, .. } in &mut self.streams {
            rest_from.get_or_insert(writer.start());
        }
    }

    /// Whether a stream takes no more items, as others were added first: shards are told when it comes to that.
    pub(super) fn is_full(&mut self, stream: u16, shards: &Shards) -> bool {
        let there = &mut self.streams[usize::from(stream)];
        let is_full =
            there.rest_from.is_some_and(|from| there.is_full || !there.writer.spares(from, SPARE_BATCHES));
        if is_full && !std::mem::replace(&mut there.is_full, true) {
            for (slots, _) in self.by_stream.ranges().into_iter().filter(|(_, of)| *of == stream) {
                (0..shards.count()).for_each(|shard| _ = shards.send(shard, Reply::Full(slots.clone())));
            }
        }
        is_full
    }

    /// Adds, in place of an item that there is no room for, that older copies of it are void. Of a long value its head says so.
    pub(super) fn leave_out(
        &mut self,
        stream: u16,
        record: &Record,
        shards: &Shards,
        figures: &TierFigures,
    ) -> Result<Option<Added>, WriteError> {
        if record.kind == Kind::Chunk {
            return Ok(Some(Added::default()));
        }
        let gone = Record { kind: Kind::Tombstone, ..*record };
        let added = self.add_record(stream, &gone, &[], shards, figures)?;
        // What the shard waits for is an item.
        Ok(added.map(|_| Added::default()))
    }
}
