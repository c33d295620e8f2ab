//! Parts of snapshots on their way into the streams.

use super::{Shards, Streams, TierFigures};
use crate::tier::snapshots::Made;
use std::sync::atomic::Ordering::Relaxed;
use torc_pmem::stream::WriteError;

impl Streams {
    /// Whether a snapshot is made.
    pub(in crate::tier) fn takes_parts(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.stream.is_some())
    }

    /// Whether a part of a snapshot of a stream is to be written.
    pub(super) fn has_part(&self, stream: u16) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.stream == Some(stream) && asking.part.is_some())
    }

    /// Takes the next part that was made, if none waits.
    pub(super) fn take_made(&mut self) {
        let Some(asking) = self.asking.as_mut().filter(|asking| asking.part.is_none()) else { return };
        match asking.made.try_recv() {
            Ok(Made::Part(part, entries)) => asking.part = Some((part, entries)),
            Ok(Made::Ended) => asking.stream = None,
            Err(_) => {}
        }
    }

    /// Writes the part that waits, if it is of this stream and the stream has room.
    pub(super) fn write_part(
        &mut self,
        stream: u16,
        shards: &Shards,
        figures: &TierFigures,
    ) -> Result<(), WriteError> {
        if !self.has_part(stream) {
            return Ok(());
        }
        let there = &mut self.streams[usize::from(stream)];
        let asking = self.asking.as_mut();
        if let Some((asking, (part, entries))) = asking.and_then(|asking| {
            let part = asking.part.take()?;
            Some((asking, part))
        }) {
            let before = there.writer.figures().written_bytes;
            if there.writer.write_part(part, &entries)? {
                // A journal is not used before this is drained.
                there.is_dirty = true;
                let (of, written) = (&figures.snapshots, there.writer.figures().written_bytes - before);
                of.records.fetch_add(entries.len() as u64, Relaxed);
                of.bytes.fetch_add(written, Relaxed);
                of.written.fetch_add(u64::from(part.is_last), Relaxed);
            } else {
                asking.part = Some((part, entries));
            }
        }
        self.make_room_ahead(stream, shards)
    }

    /// Lets snapshots be made that are due.
    pub(super) fn ask(&mut self) {
        let Some(asking) = &mut self.asking else { return };
        for stream in &self.streams {
            asking.ask(&stream.writer.here());
        }
    }
}
