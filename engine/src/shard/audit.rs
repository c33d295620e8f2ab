//! A full recount of a shard, for tests: whether its books agree with its bytes.
//!
//! Walks every segment and every item, so a call costs as much as the shard is large. No server calls it.

use super::{Shard, Weight, hash_of};
use crate::chain::{ChainList, ORDINAL_BYTES};
use crate::index::{Entry, Role, Slot};
use crate::item::{ItemRef, present, state};
use crate::segments::{Phase, Queue};
use crate::spaces::DATABASES_MAX;
use crate::stats::DatabaseFigures;
use std::ops::ControlFlow;

/// What a recount has found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Recount {
    items: u64,
    bytes_live: u64,
    bytes_payload: u64,
    bytes_expired: u64,
    items_expiring: u64,
    expiry_units: u64,
}

impl Shard {
    /// Compares every account with a recount.
    ///
    /// # Errors
    /// The first disagreement, in words.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let mut recount = Recount::default();
        let mut databases = vec![DatabaseFigures::default(); DATABASES_MAX];
        let mut in_index = 0;
        for segment in 0..self.segments.headers().len() as u32 {
            let header = self.segments.header(segment);
            if matches!(header.phase, Phase::Free | Phase::Retired) {
                check(header.pins.get() == 0, || format!("free segment {segment} is pinned"))?;
                continue;
            }
            check(header.used as usize <= self.segments.segment_bytes(), || "a segment overflows".into())?;
            let start = self.segments.start(segment);
            let (mut done, mut live_bytes, mut live_items) = (0, 0, 0);
            while done < header.used {
                let at = start + u64::from(done);
                let item = self.segments.item(at);
                done += item.item_len() as u32;
                if item.is(state::DEAD) {
                    continue;
                }
                live_bytes += item.item_len() as u32;
                live_items += 1;
                if item.present() & present::CHUNK != 0 {
                    self.audit_chunk(at, &item)?;
                } else {
                    in_index += 1;
                    let hash = hash_of(&self.secrets, &item);
                    let there = self.index.find(hash, |slot| slot.location() == at);
                    check(there.is_some(), || format!("a live item at {at} is not in the index"))?;
                    self.audit_list(at, &item)?;
                }
                self.count_item(&item, &mut recount, &mut databases);
            }
            check(done == header.used, || format!("segment {segment} does not end with an item"))?;
            let told = (header.live_bytes, header.live_items);
            check((live_bytes, live_items) == told, || {
                format!("segment {segment} holds {live_bytes} bytes, {live_items} items; its header {told:?}")
            })?;
        }
        let count = |phase| self.segments.headers().iter().filter(|header| header.phase == phase).count();
        let told =
            (self.segments.sealed(Queue::Small) + self.segments.sealed(Queue::Main), self.segments.free());
        let counted = (count(Phase::Sealed), count(Phase::Free));
        check(counted == told, || format!("{counted:?} segments are sealed, free; the lists hold {told:?}"))?;
        self.audit_elsewhere()?;
        check(in_index == self.index.items(), || {
            format!("the index holds {} items, the segments {in_index}", self.index.items())
        })?;
        let told = Recount {
            items: self.stats.items.read(),
            bytes_live: self.stats.bytes_live.read(),
            bytes_payload: self.stats.bytes_payload.read(),
            bytes_expired: self.calendar.expired(),
            items_expiring: self.stats.items_expiring.read(),
            expiry_units: self.stats.expiry_units.read(),
        };
        self.audit_databases(&databases)?;
        check(recount == told, || format!("recount {recount:?}, gauges {told:?}"))?;
        self.audit_memory()
    }

    /// What the index says of keys whose items are elsewhere, too, or only there.
    fn audit_elsewhere(&self) -> Result<(), String> {
        self.index.audit()?;
        let (mut only, mut wrong, mut next) = (0, None, Some(0));
        while let Some(from) = next {
            let hash = |slot: Slot| hash_of(&self.secrets, &self.segments.item(slot.location()));
            next = self.index.scan(from, usize::MAX, hash, |entry| {
                if let Entry::Elsewhere(entry) = entry
                    && !entry.is_chunk()
                {
                    only += u64::from(entry.role == Role::Only);
                    let is_here = self.slot_of(entry.hash).is_some();
                    wrong = wrong.or((is_here != (entry.role == Role::Copy)).then_some(entry));
                }
                ControlFlow::Continue(())
            });
        }
        check(wrong.is_none(), || {
            format!("an item is in DRAM or is not, and its place says otherwise: {wrong:?}")
        })?;
        let told = self.index.only_elsewhere();
        check(only == told, || format!("{only} keys have an item elsewhere alone; the index tells {told}"))
    }

    /// Every item that is not dead, chunks included, as they lie.
    #[cfg(test)]
    pub(super) fn each_live(&self, visit: &mut dyn FnMut(ItemRef<'_>)) {
        for segment in 0..self.segments.headers().len() as u32 {
            let header = self.segments.header(segment);
            let mut done = 0;
            while !matches!(header.phase, Phase::Free | Phase::Retired) && done < header.used {
                let item = self.segments.item(self.segments.start(segment) + u64::from(done));
                done += item.item_len() as u32;
                if !item.is(state::DEAD) {
                    visit(item);
                }
            }
        }
    }

    /// Segments that somebody pins, and bytes of values under way into the shard.
    #[doc(hidden)]
    pub fn held(&self) -> (usize, u64) {
        (self.segments.pinned(), self.uploads.bytes() + self.uploads.returning_bytes())
    }

    fn count_item(&self, item: &ItemRef<'_>, recount: &mut Recount, databases: &mut [DatabaseFigures]) {
        if item.version() <= self.flushed {
            return;
        }
        let weight = Weight::of(item);
        if let Some(database) = self.spaces.database_of(item.space(), weight.version) {
            let (own, is_expiring) = (&mut databases[database], weight.expiry.map_or(0, |_| weight.items));
            for (all, own, counted) in [
                (&mut recount.bytes_live, &mut own.bytes_live, weight.len as u64),
                (&mut recount.bytes_payload, &mut own.bytes_payload, weight.payload),
                (&mut recount.items, &mut own.items, weight.items),
                (&mut recount.items_expiring, &mut own.expiring, is_expiring),
                (&mut recount.expiry_units, &mut own.expiry_units, weight.expiry_units()),
            ] {
                *all += counted;
                *own += counted;
            }
        }
        if let Some(expiry) = weight.expiry
            && self.calendar.counts_as_expired(weight.written_at(), expiry)
        {
            recount.bytes_expired += (weight.len + weight.chunks) as u64;
        }
    }

    /// A chunk belongs to an upload under way, or to a head that lists it.
    fn audit_chunk(&self, at: u64, item: &ItemRef<'_>) -> Result<(), String> {
        if self.uploads.iter().any(|upload| upload.locations().any(|chunk| chunk == at)) {
            return Ok(());
        }
        let hash = hash_of(&self.secrets, item);
        let head = self.index.find(hash, |slot| {
            let head = self.segments.item(slot.location());
            head.present() & present::CHAIN_HEAD != 0
                && ChainList::new(head.value()).chain() == item.version()
                && ChainList::new(head.value()).position(at).is_some()
        });
        check(head.is_some(), || format!("a live chunk at {at} has no head that lists it"))
    }

    /// A head's list adds up, and each of its chunks is one of this chain, as long as the list says.
    fn audit_list(&self, at: u64, item: &ItemRef<'_>) -> Result<(), String> {
        if item.present() & present::CHAIN_HEAD == 0 {
            return Ok(());
        }
        let list = ChainList::new(item.value());
        let (mut bytes, mut stored) = (0, 0);
        for extent in list.extents() {
            bytes += extent.len();
            let Some(chunk) = extent.location() else { continue };
            stored += extent.len();
            let chunk = self.segments.item(chunk);
            let len = chunk.value_len() - ORDINAL_BYTES;
            let ordinal = Some(chunk.value().word(0));
            let is_ours = chunk.present() & present::CHUNK != 0
                && (chunk.version(), ordinal) == (list.chain(), extent.ordinal())
                && chunk.space() == item.space()
                && chunk.key() == *item.key().to_vec();
            check(is_ours && !chunk.is(state::DEAD), || {
                format!("the head at {at} lists a chunk that is not its own")
            })?;
            check(len as u64 == extent.len(), || {
                format!("the head at {at} has a chunk of {len} as {}", extent.len())
            })?;
        }
        check((bytes, stored) == (list.value_bytes(), list.stored_bytes()), || {
            format!("the head at {at} holds {bytes} bytes, {stored} stored; it tells others")
        })
    }

    fn audit_databases(&self, counted: &[DatabaseFigures]) -> Result<(), String> {
        counted.iter().enumerate().try_for_each(|(database, counted)| {
            let told = DatabaseFigures { only: 0, ..self.stats.database(database) };
            check(*counted == told, || format!("database {database} has {counted:?}, and tells {told:?}"))
        })
    }

    fn audit_memory(&self) -> Result<(), String> {
        let (told, counted) =
            (self.uploads.taken_bytes(), self.uploads.of_clients().map(|upload| upload.taken).sum());
        check(told == counted, || {
            format!("values under way have taken {counted} bytes; the table tells {told}")
        })?;
        let segments = self.segments.in_use() * self.segments.segment_bytes() + self.segments.table_bytes();
        // What grows of the rest of the bookkeeping is made room for within a second.
        let all = (segments + self.index.bytes()) as u64;
        check(all <= self.memory_bytes, || {
            format!("segments {segments}, index {}: more than {}", self.index.bytes(), self.memory_bytes)
        })
    }
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
