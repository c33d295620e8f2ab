//! What the sides tell each other beside the bytes: credits, room, pings.

use super::{Link, PINGS_MAX, PLANNED_MAX};
use crate::Broken;
use crate::note::{Kind, NUMBERS, Note};
use torc_verbs::seam::Verbs;

/// What a message of the other side says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) kind: Kind,
    /// Units that can be used again.
    pub(crate) units: usize,
}

impl<V: Verbs> Link<V> {
    /// Takes what a message of the other side, of so many bytes, gives back.
    pub(crate) fn noted(&mut self, immediate: Option<u32>, len: usize) -> Result<Heard, Broken> {
        let Note { kind, number, credits, units } =
            immediate.and_then(Note::decode).ok_or(Broken::Message)?;
        if number != self.their_number {
            return Err(Broken::Lost);
        }
        self.their_number = (number + 1) % NUMBERS;
        self.credits += credits;
        if self.credits > self.credits_max {
            return Err(Broken::Credits);
        }
        if kind.takes_credit() {
            self.given = self.given.checked_sub(1).ok_or(Broken::Flooded)?;
        }
        self.take_word(kind, credits == 0 && units == 0)?;
        // What takes a credit brings bytes, and nothing else does.
        if kind.takes_credit() == (len > 0) {
            Ok(Heard { kind, units: units as usize })
        } else {
            Err(Broken::Message)
        }
    }

    /// What takes no credit is bounded by what it is for.
    fn take_word(&mut self, kind: Kind, gives_nothing: bool) -> Result<(), Broken> {
        match kind {
            Kind::Return if gives_nothing => return Err(Broken::Message),
            Kind::Ping if self.their_pings == PINGS_MAX => return Err(Broken::Flooded),
            Kind::Ping => self.their_pings += 1,
            Kind::Pong => self.pings = self.pings.checked_sub(1).ok_or(Broken::Message)?,
            _ => {}
        }
        Ok(())
    }

    /// A message that took a credit of the other side is worked off: its receive is posted again.
    #[inline]
    pub(crate) fn owe(&mut self) {
        self.owed += 1;
    }

    pub(crate) fn owe_units(&mut self, units: usize) {
        self.owed_units += units;
    }

    /// Gives back what is due, if nothing else has; answers pings.
    #[inline]
    pub(crate) fn settle(&mut self, region: &V::Region) -> Result<(), Broken> {
        while self.their_pings > 0 && self.sends.has_room(1) {
            self.their_pings -= 1;
            self.say(Kind::Pong, region)?;
        }
        while self.is_due() && self.sends.has_room(1) {
            self.say(Kind::Return, region)?;
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.owed >= self.owed_due || self.owed_units >= self.units_due
    }

    /// Asks whether the other side is there, unless it was asked [`PINGS_MAX`] times and has not answered.
    pub(crate) fn ping(&mut self, region: &V::Region) -> Result<(), Broken> {
        if self.pings == PINGS_MAX || !self.sends.has_room(1) {
            return Ok(());
        }
        self.pings += 1;
        self.say(Kind::Ping, region)
    }

    /// Pings that were not answered.
    pub(crate) fn pings(&self) -> u8 {
        self.pings
    }

    fn say(&mut self, kind: Kind, region: &V::Region) -> Result<(), Broken> {
        if self.planned_count == PLANNED_MAX {
            self.post(region, None)?;
        }
        self.plan_note(kind, 0, 0, true);
        self.post(region, None)
    }
}
