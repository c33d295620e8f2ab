//! Changing a part of a long value: ranges written, bytes joined to either end.
//!
//! ```text
//!  old   | head: a b c d e |                 the bytes of c change
//!  new   | head: a b C d e |                 C is a new chunk; a, b, d, e stay where they are; c dies
//! ```
//!
//! A change costs its own bytes, the chunks it touches and the list, however long the value is ([`super::stretches`] says
//! what it touches). A chunk that is in a list never changes, so what is lent of it stays as it was. New chunks are
//! the arena's from the start, and everything that can fail has happened before anything is changed.

use super::overlay::{Old, Overlay};
use super::place::Linked;
use super::stretches::{self, Shape, Stretch};
use super::{Key, Shard, Weight, out_of_memory};
use crate::chain::{
    ChainList, EXTENT_LEN_MAX, Extent, ListWriter, ORDINAL_BYTES, Upload, has_ordinals, list_bytes,
};
use crate::command::{Body, Millis, Refusal};
use crate::item::{Header, present};
use std::ops::Range;

/// Where new bytes go in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Over what is there; what lies between the value's end and them is zeros.
    Offset(u64),
    Start,
    End,
}

impl Shard {
    /// What a key has, for a change of it. The bytes of an inline value stay where they are until
    /// [`Shard::let_go`], even if room for the new ones costs the item its place.
    pub(super) fn hold(&mut self, at: Option<u64>) -> Old {
        let Some(at) = at else { return Old::Plain { at: 0, len: 0 } };
        let item = self.segments.item(at);
        if item.present() & present::CHAIN_HEAD != 0 {
            return Old::Chain { version: item.version() };
        }
        let old = Old::Plain { at: at + item.value_at() as u64, len: item.value_len() as u64 };
        self.segments.pin(self.segments.segment_of(at));
        old
    }

    pub(super) fn let_go(&mut self, at: Option<u64>, old: Old) {
        if let (Some(at), Old::Plain { .. }) = (at, old) {
            self.segments.unpin(self.segments.segment_of(at));
        }
    }

    /// Puts new bytes to a place of what `old` has.
    pub(super) fn put(
        &mut self,
        key: Key<'_>,
        header: Header,
        old: Old,
        (to, body): (To, Body<'_>),
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let (new, upload) = match body {
            Body::Bytes(bytes) => (bytes, None),
            Body::Upload(id) => (&[][..], Some(self.complete(id, key)?)),
        };
        let added = upload.as_ref().map_or(new.len() as u64, |upload| upload.bytes);
        let shape = match self.shape(key, old) {
            Ok(shape) => shape,
            Err(refusal) => {
                upload.iter().for_each(|upload| self.discard(&upload.extents));
                return Err(refusal);
            }
        };
        let (old_at, new_at) = match to {
            To::Offset(offset) => (0, offset),
            To::End => (0, shape.len()),
            To::Start => (added, 0),
        };
        let overlay = Overlay { old, old_at, new, new_at };
        let len = (old_at + shape.len()).max(new_at + added);
        let is_short = header.item_len(key.bytes.len(), len as usize) <= self.item_bytes_max();
        if is_short && upload.is_none() && matches!(old, Old::Plain { .. }) {
            return self.store_inline(key, header, overlay, len, now);
        }
        let chunk_bytes = self.chunk_bytes(key) as u64;
        let stretches = match (to, &upload) {
            (To::Offset(offset), None) => stretches::range(shape, offset, offset + added, chunk_bytes),
            (To::Offset(offset), Some(_)) => {
                let range = offset..offset + added;
                stretches::with_upload(stretches::range(shape, range.start, range.end, chunk_bytes), range)
            }
            (_, None) => stretches::join(shape, added, to == To::Start, chunk_bytes),
            (_, Some(_)) => stretches::join_upload(shape, added, to == To::Start),
        };
        self.edit(key, header, overlay, (stretches, upload), now)
    }

    /// The chain that a change began with, where it is now.
    fn chain_head(&self, key: Key<'_>, version: u64) -> Result<u64, Refusal> {
        let there = self.find(key).map(|(_, slot)| slot.location());
        let there = there.filter(|&at| self.segments.item(at).version() == version);
        // Making room for the new bytes has dropped the value, and they are no value without it.
        there.ok_or_else(|| out_of_memory(&self.stats))
    }

    pub(super) fn list(&self, head: u64) -> ChainList<'_> {
        ChainList::new(self.segments.item(head).value())
    }

    fn shape(&self, key: Key<'_>, old: Old) -> Result<Shape<'_>, Refusal> {
        match old {
            Old::Plain { len, .. } => Ok(Shape::Plain(len)),
            Old::Chain { version } => Ok(Shape::Chain(self.list(self.chain_head(key, version)?))),
        }
    }

    /// Stores a value that is short enough as a plain item.
    fn store_inline(
        &mut self,
        key: Key<'_>,
        header: Header,
        overlay: Overlay<'_>,
        len: u64,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let header = Header { kind: 0, ..header };
        let at = self.room(key, &header, len as usize, now)?;
        let item = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), len as usize));
        let value_at = at + header.write(key.bytes, len as usize, item) as u64;
        self.compose(overlay, None, 0..len, value_at);
        let old = self.link(key, at, false);
        Ok(Linked { at, old })
    }

    /// Makes a value of stretches.
    fn edit(
        &mut self,
        key: Key<'_>,
        header: Header,
        overlay: Overlay<'_>,
        (stretches, upload): (Vec<Stretch>, Option<Upload>),
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let header = Header { kind: present::CHAIN_HEAD, ..header };
        let uploaded = upload.as_ref().map_or(&[][..], |upload| &upload.extents);
        let mut fresh = Vec::new();
        let room = self.add_fresh(key, header.version, &stretches, &mut fresh, now).and_then(|()| {
            let extents = stretches::extents(&stretches, uploaded.len(), self.chunk_bytes(key) as u64);
            self.room_for_list(key, &header, overlay.old, extents, fresh.len() + uploaded.len(), now)
        });
        let (at, head) = match room {
            Ok(places) => places,
            Err(refusal) => {
                self.discard(&fresh);
                self.discard(uploaded);
                return Err(refusal);
            }
        };
        // Nothing can fail from here on.
        self.compose_fresh(&stretches, &fresh, overlay, head);
        let (chain, first) = match head.map(|head| self.list(head)) {
            Some(list) => (list.chain(), list.next_ordinal()),
            None => (header.version, 0),
        };
        let behind = first + fresh.len() as u64;
        self.write_list(at, &stretches, head, (&fresh, first), (uploaded, behind), chain);
        self.settle_chunks(&fresh, chain, first);
        self.settle_chunks(uploaded, chain, behind);
        let old = self.link(key, at, head.is_some());
        if let Some(head) = head {
            self.kill_replaced(head, &stretches);
        }
        Ok(Linked { at, old })
    }

    /// Adds the chunks of all fresh stretches, without data.
    fn add_fresh(
        &mut self,
        key: Key<'_>,
        chain: u64,
        stretches: &[Stretch],
        fresh: &mut Vec<Extent>,
        now: Millis,
    ) -> Result<(), Refusal> {
        for stretch in stretches {
            let Stretch::Fresh(range) = stretch else { continue };
            let mut left = range.end - range.start;
            while left > 0 {
                let data = left.min(self.chunk_bytes(key) as u64);
                fresh.push(self.add_chunk(key, (chain, fresh.len() as u64), data as usize, None, now)?);
                left -= data;
            }
        }
        Ok(())
    }

    /// Room for a head with so many extents. Returns it with the old head, which is where it says until something
    /// else is appended.
    fn room_for_list(
        &mut self,
        key: Key<'_>,
        header: &Header,
        old: Old,
        extents: usize,
        new_chunks: usize,
        now: Millis,
    ) -> Result<(u64, Option<u64>), Refusal> {
        let list_bytes = list_bytes(extents);
        if header.item_len(key.bytes.len(), list_bytes) > self.item_bytes_max() {
            return Err(Refusal::ValueTooLarge);
        }
        let at = self.room(key, header, list_bytes, now)?;
        let item = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), list_bytes));
        header.write(key.bytes, list_bytes, item);
        let Old::Chain { version } = old else { return Ok((at, None)) };
        let head = self.chain_head(key, version).and_then(|head| {
            let numbered = has_ordinals(self.list(head).next_ordinal(), new_chunks);
            if numbered { Ok(head) } else { Err(Refusal::ValueTooLarge) }
        });
        match head {
            Ok(head) => Ok((at, Some(head))),
            Err(refusal) => {
                self.abandon(at, header, key, list_bytes);
                Err(refusal)
            }
        }
    }

    /// Writes the list of a new head. New chunks come with the ordinal of the first of them.
    fn write_list(
        &mut self,
        at: u64,
        stretches: &[Stretch],
        head: Option<u64>,
        (fresh, first): (&[Extent], u64),
        (uploaded, behind): (&[Extent], u64),
        chain: u64,
    ) {
        let item = self.segments.item(at);
        let (list_at, list_bytes) = (at + item.value_at() as u64, item.value_len());
        let mut fresh = fresh.iter();
        let mut writer = ListWriter::new(list_bytes);
        for stretch in stretches {
            match stretch {
                Stretch::Keep(range) => {
                    for number in range.clone() {
                        let extent = self.list(head.expect("only a chain is kept")).extent(number);
                        writer.push(self.segments.bytes_mut(list_at, list_bytes), extent);
                    }
                }
                Stretch::Hole(len) => {
                    let list = self.segments.bytes_mut(list_at, list_bytes);
                    holes(*len).for_each(|extent| writer.push(list, extent));
                }
                Stretch::Fresh(range) => {
                    let list = self.segments.bytes_mut(list_at, list_bytes);
                    let mut left = range.end - range.start;
                    while left > 0 {
                        let extent = *fresh.next().expect("a chunk for every fresh stretch");
                        writer.push(list, extent.behind(first));
                        left -= extent.len();
                    }
                }
                Stretch::Upload => {
                    let list = self.segments.bytes_mut(list_at, list_bytes);
                    uploaded.iter().for_each(|extent| writer.push(list, extent.behind(behind)));
                }
            }
        }
        let next = behind + uploaded.len() as u64;
        let judged = head.map_or(0, |head| self.list(head).judged());
        writer.finish(self.segments.bytes_mut(list_at, list_bytes), chain, next, judged);
    }

    /// Chunks of the old list that the new one does not have die.
    fn kill_replaced(&mut self, head: u64, stretches: &[Stretch]) {
        let mut next = 0;
        for stretch in stretches {
            let Stretch::Keep(kept) = stretch else { continue };
            self.drop_chunks(head, next..kept.start);
            next = kept.end;
        }
        self.drop_chunks(head, next..self.list(head).len());
    }

    /// New chunks get their chain's number and their ordinals, and lose their pins.
    pub(super) fn settle_chunks(&mut self, extents: &[Extent], chain: u64, first: u64) {
        for extent in extents {
            let (Some(at), Some(ordinal)) = (extent.location(), extent.ordinal()) else { continue };
            let counted = self.segments.item(at).version() > self.flushed;
            self.segments.bytes_mut(at, 8).copy_from_slice(&chain.to_le_bytes());
            if !counted {
                // Begun before a flush, which has taken it out of the accounts.
                self.enter(at, &Weight::of(&self.segments.item(at)));
            }
            let ordinal_at = at + self.segments.item(at).value_at() as u64;
            let ordinal = (first + ordinal).to_le_bytes();
            self.segments.bytes_mut(ordinal_at, ORDINAL_BYTES).copy_from_slice(&ordinal);
            self.segments.unpin_filled(at);
        }
    }

    /// The chunks of some extents of a head are no part of a value any more, here or on a medium.
    #[cold]
    pub(super) fn drop_chunks(&mut self, head: u64, numbers: Range<usize>) {
        self.forget_chunks(head, numbers.clone());
        self.kill_chunks(head, numbers);
    }

    /// Marks the chunks of some extents dead.
    #[cold]
    pub(super) fn kill_chunks(&mut self, head: u64, numbers: Range<usize>) {
        for number in numbers {
            if let Some(at) = self.list(head).extent(number).location() {
                let len = self.segments.item(at).item_len();
                self.kill_one(at);
                self.segments.leave_place(at, len);
            }
        }
    }
}

fn holes(len: u64) -> impl Iterator<Item = Extent> {
    let mut left = len;
    std::iter::from_fn(move || {
        let len = left.min(EXTENT_LEN_MAX);
        left -= len;
        (len > 0).then(|| Extent::hole(len))
    })
}
