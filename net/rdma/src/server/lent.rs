//! What a client has lent: read from its memory to where it stays, then given back.

use super::{Heard, ONE_SIDED_BYTES_MAX, ServerEnd};
use crate::Broken;
use crate::link::{OneSided, remote};
use crate::window::units;
use std::collections::VecDeque;
use torc_verbs::seam::Verbs;
use torc_verbs::work::Piece;

/// What is lent, and how far it is read.
#[derive(Debug, Default)]
pub(super) struct Lent {
    /// Units that the client cannot use again.
    pub(super) units: usize,
    /// Of the part that is being read: where its next byte lies, how many no READ has begun with, and how many it has.
    at: usize,
    left: usize,
    whole: usize,
    /// READs that were begun, and that are over, ever.
    begun: u64,
    over: u64,
    /// Parts whose READs have all begun: by which of them they end, and their units.
    ending: VecDeque<(u64, usize)>,
}

impl Lent {
    fn begin_read(&mut self, count: usize) {
        (self.at, self.left) = (self.at + count, self.left - count);
        self.begun += 1;
        if self.left == 0 {
            self.ending.push_back((self.begun, units(self.whole)));
        }
    }

    /// So many READs are over; units that the client can use again.
    pub(super) fn end_reads(&mut self, count: usize) -> usize {
        self.over += count as u64;
        let mut read = 0;
        while let Some(&(last, units)) = self.ending.front()
            && last <= self.over
        {
            self.ending.pop_front();
            read += units;
        }
        self.units -= read;
        read
    }
}

impl<V: Verbs> ServerEnd<V> {
    /// A part was told of.
    pub(super) fn lent(&mut self, len: usize) -> Result<Heard, Broken> {
        self.lent.units += units(len);
        match len {
            0 => Err(Broken::Message),
            _ if self.lent.units > self.lending.0.units() => Err(Broken::Room),
            _ => Ok(Heard::Lent(len)),
        }
    }

    /// Reads the next bytes of what was [lent](Heard::Lent), at most `len`; says how many, 0 if that cannot be now.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn read(
        &mut self,
        region: &V::Region,
        (to, at): (&V::Region, usize),
        len: usize,
    ) -> Result<usize, Broken> {
        let from = self.lent.at;
        let count = len.min(self.lent.left).min(ONE_SIDED_BYTES_MAX);
        if count == 0 || !self.link.has_room_beside() {
            return Ok(0);
        }
        let piece = Piece { region: to, at, len: count };
        let far = remote(self.lending.1, from);
        self.link.post(region, Some(OneSided { piece, far, writes: false }))?;
        self.lent.begin_read(count);
        Ok(count)
    }

    /// Bytes of what was lent that no READ has begun with.
    pub fn lent_left(&self) -> usize {
        self.lent.left
    }

    /// Begins to read what was lent, when all READs of what was before it have begun; bytes as [`Heard::Lent`] said.
    ///
    /// # Errors
    /// There cannot be so much at that place of the lending.
    pub fn begin_lent(&mut self, len: usize) -> Result<(), Broken> {
        debug_assert_eq!(self.lent.left, 0, "one part is read after the other");
        let at = self.lending.0.claim(len).ok_or(Broken::Room)?;
        // Only its place is wanted of the window: how much of it is in use was looked at when the part was told of.
        let is_free = self.lending.0.give_back(units(len));
        debug_assert!(is_free);
        (self.lent.at, self.lent.left, self.lent.whole) = (at, len, len);
        Ok(())
    }
}
