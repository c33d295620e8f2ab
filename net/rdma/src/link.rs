//! What both ends of a connection have: a queue pair, credits, and messages on their way out.
//!
//! ```text
//!   plan   a message: its bytes go to a slot, or inline; one doorbell for several
//!   post   all that is planned, and perhaps a WRITE or READ behind it
//!   noted  a message of the other side: its kind, and what it gives back
//! ```
//!
//! Nothing here waits. Who is out of credits, slots or requests sends on when a completion has come.

mod post;
#[cfg(test)]
mod rest;
mod words;

use crate::Broken;
use crate::note::{CREDITS_MAX, Kind, NUMBERS, Note, UNITS_MAX};
use crate::sends::{Posted, Sends};
use std::sync::Arc;
use torc_verbs::memory::Buffer;
use torc_verbs::region::Region;
use torc_verbs::seam::{QueuePair, Verbs};
use torc_verbs::work::{Piece, Remote};

/// Messages that are planned before they are posted, at most.
const PLANNED_MAX: usize = 8;
/// Bytes that are sent inline, at most, if the device can.
pub(crate) const INLINE_BYTES_MAX: usize = 192;
/// Receives beyond those that take a credit: for messages that only give back, pings and their answers.
pub const SPARE_RECEIVES: u16 = 8;
/// Pings that were not answered, at most: a side that is not looked after for long keeps the other receives for what gives back.
pub(crate) const PINGS_MAX: u8 = 4;
/// Work requests of a queue pair that are not over, beyond its slots.
const SPARE_REQUESTS: usize = 48;

/// Where messages are sent from; the device reads there until the queue pair is gone.
#[derive(Debug)]
pub struct Slots {
    /// Where the first begins in the memory that all calls are given.
    pub at: usize,
    pub count: usize,
    pub bytes: usize,
}

impl Slots {
    /// Work requests of a queue pair with these.
    pub fn requests(&self) -> u32 {
        (self.count + SPARE_REQUESTS) as u32
    }
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    id: u64,
    signaled: bool,
    note: Note,
    at: usize,
    len: usize,
    inline: bool,
}

const NOTHING: Planned = Planned {
    id: 0,
    signaled: false,
    note: Note { kind: Kind::Return, number: 0, credits: 0, units: 0 },
    at: 0,
    len: 0,
    inline: true,
};

/// A WRITE or a READ.
#[derive(Debug)]
pub(crate) struct OneSided<'r, R> {
    pub(crate) piece: Piece<'r, R>,
    pub(crate) far: Remote,
    /// A WRITE, which is told as [`Kind::Landed`]; else a READ.
    pub(crate) writes: bool,
}

/// One side of a connection.
#[derive(Debug)]
pub(crate) struct Link<V: Verbs> {
    pair: V::Pair,
    sends: Sends,
    planned: [Planned; PLANNED_MAX],
    planned_count: usize,
    inline: [[u8; INLINE_BYTES_MAX]; PLANNED_MAX],
    inline_max: usize,
    /// Messages that the other side still takes, and that it takes at all.
    credits: u32,
    credits_max: u32,
    /// Messages that we still take, as far as the other side can know.
    given: u32,
    /// Numbers of the next message of ours, and of theirs.
    number: u32,
    their_number: u32,
    /// What is to be given back, and when that is due without another message.
    owed: u32,
    owed_due: u32,
    owed_units: usize,
    units_due: usize,
    /// Pings of ours that were not answered, and theirs.
    pings: u8,
    their_pings: u8,
}

impl<V: Verbs> Link<V> {
    /// `theirs`: messages that the other side takes, and their bytes at most; `ours`: messages that we take.
    pub(crate) fn new(pair: V::Pair, slots: &Slots, theirs: (u16, u32), ours: u16) -> Link<V> {
        let slot_bytes = slots.bytes.min(theirs.1 as usize);
        let inline_max = (pair.inline_bytes() as usize).min(INLINE_BYTES_MAX).min(slot_bytes);
        Link {
            pair,
            sends: Sends::new(slots.at, slots.count, slot_bytes, slots.count + SPARE_REQUESTS),
            planned: [NOTHING; PLANNED_MAX],
            planned_count: 0,
            inline: [[0; INLINE_BYTES_MAX]; PLANNED_MAX],
            inline_max,
            credits: u32::from(theirs.0),
            credits_max: u32::from(theirs.0),
            given: u32::from(ours),
            number: 0,
            their_number: 0,
            owed: 0,
            owed_due: (u32::from(ours) / 2).clamp(1, CREDITS_MAX),
            owed_units: 0,
            units_due: usize::MAX,
            pings: 0,
            their_pings: 0,
        }
    }

    /// From so many owed units on they are given back by themselves.
    pub(crate) fn with_units_due(mut self, units: usize) -> Link<V> {
        self.units_due = units.clamp(1, UNITS_MAX as usize);
        self
    }

    pub(crate) fn number(&self) -> u32 {
        self.pair.number()
    }

    pub(crate) fn pair(&self) -> &V::Pair {
        &self.pair
    }

    pub(crate) fn sends(&self) -> &Sends {
        &self.sends
    }

    /// Bytes of a message, at most.
    pub(crate) fn message_bytes(&self) -> usize {
        self.sends.slot_bytes()
    }

    /// Whether a message can be planned that takes a credit, and one behind it that takes none.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.credits > 0 && self.sends.has_slot() && self.sends.has_room(2)
    }

    /// Plans a message out of the slices that `bytes` gives, `len` in all; at most [`Link::message_bytes`], and there is
    /// [`Link::has_room`].
    ///
    /// # Safety
    /// The slices are readable, and nobody writes them, for the call.
    pub(crate) unsafe fn plan(
        &mut self,
        memory: (&Buffer, &V::Region),
        kind: Kind,
        len: usize,
        bytes: impl Iterator<Item = (*const u8, usize)>,
    ) -> Result<(), Broken> {
        if self.planned_count == PLANNED_MAX {
            self.post(memory.1, None)?;
        }
        let inline = len <= self.inline_max;
        let slot = self.sends.slot();
        let mut done = 0;
        for (start, count) in bytes {
            assert!(count <= len - done, "a message is as long as was said");
            if inline {
                let room = self.inline[self.planned_count][done..][..count].as_mut_ptr();
                // SAFETY: the source by the caller; the room is ours alone, and as long (sliced).
                unsafe { std::ptr::copy_nonoverlapping(start, room, count) };
            } else {
                // SAFETY: by the caller.
                unsafe { memory.0.write_from(slot + done, start, count) };
            }
            done += count;
        }
        debug_assert_eq!(done, len);
        self.plan_note(kind, slot, len, inline);
        Ok(())
    }

    fn plan_note(&mut self, kind: Kind, at: usize, len: usize, inline: bool) {
        let note = self.note(kind);
        let what = if kind == Kind::Ping { Posted::Ping } else { Posted::Message { slot: !inline } };
        let (id, signaled) = self.sends.post(what);
        self.planned[self.planned_count] = Planned { id, signaled, note, at, len, inline };
        self.planned_count += 1;
    }

    /// What the next message says; it takes its credit, and gives back what is owed.
    fn note(&mut self, kind: Kind) -> Note {
        let number = self.number;
        self.number = (number + 1) % NUMBERS;
        self.credits -= u32::from(kind.takes_credit());
        let credits = self.owed.min(CREDITS_MAX);
        let units = self.owed_units.min(UNITS_MAX as usize);
        self.owed -= credits;
        self.owed_units -= units;
        self.given += credits;
        Note { kind, number, credits, units: units as u32 }
    }

    /// Posts what is planned.
    #[inline]
    pub(crate) fn flush(&mut self, region: &V::Region) -> Result<(), Broken> {
        if self.planned_count > 0 { self.post(region, None) } else { Ok(()) }
    }

    /// Whether a WRITE or READ can be posted behind what is planned.
    pub(crate) fn has_room_beside(&self) -> bool {
        self.sends.has_room(2)
    }

    /// All that was posted up to this number is over.
    pub(crate) fn complete(&mut self, id: u64) -> Result<(), Broken> {
        if self.sends.complete(id) { Ok(()) } else { Err(Broken::Completion) }
    }

    /// Nothing that the other side sends takes effect from here on.
    pub(crate) fn fail(&self) {
        // If the device is gone nothing comes from it any more either.
        let _ = self.pair.fail();
    }
}

/// For memory of the other side.
pub(crate) fn remote(window: torc_proto::native::pair::Window, at: usize) -> Remote {
    Remote { address: window.address.wrapping_add(at as u64), key: window.key }
}

/// What is told of memory of ours, if there is any.
pub(crate) fn told<R: Region>(memory: Option<&(Arc<Buffer>, R)>) -> torc_proto::native::pair::Window {
    let Some((_, region)) = memory else { return torc_proto::native::pair::Window::default() };
    let bytes = u32::try_from(region.len()).unwrap_or(u32::MAX);
    torc_proto::native::pair::Window { address: region.address(), key: region.remote_key(), bytes }
}
