//! The immediate of each message: what it is, and what its sender gives back.
//!
//! ```text
//!   31  29 28    25 24      17 16                 0
//!  +------+--------+----------+--------------------+
//!  | kind | number | credits  | room, in units     |
//!  +------+--------+----------+--------------------+
//! ```
//!
//! *number*: of the sender's messages so many went before, modulo 16: a device that loses a completion must not cost a stream bytes.
//! *credits*: receives that the sender has posted anew for the other side's messages. *room*: units of [`UNIT`] bytes that the
//! other side may use again: from a client, of its landing; from a server, of the client's lending.

/// Bytes of which room is given back as a whole.
pub(crate) const UNIT: usize = 64;

/// What one message gives back at most.
pub(crate) const CREDITS_MAX: u32 = 255;
pub(crate) const UNITS_MAX: u32 = (1 << 17) - 1;

/// Of the number of a message so much is told.
pub(crate) const NUMBERS: u32 = 16;

/// What a message is ([N-RDMA-5]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The next bytes of the stream.
    Bytes = 0,
    /// The next bytes of the stream have been written to the landing.
    Landed = 1,
    /// The next bytes of the stream are to be read in the lending; the message is their number, u32.
    Lent = 2,
    /// It only gives back.
    Return = 3,
    /// To be answered with [`Kind::Pong`].
    Ping = 4,
    Pong = 5,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Bytes, Kind::Landed, Kind::Lent, Kind::Return, Kind::Ping, Kind::Pong];

    /// Whether the sender needs a credit for it.
    pub(crate) fn takes_credit(self) -> bool {
        matches!(self, Kind::Bytes | Kind::Landed | Kind::Lent)
    }
}

/// An immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    /// Below [`NUMBERS`].
    pub(crate) number: u32,
    pub(crate) credits: u32,
    pub(crate) units: u32,
}

impl Note {
    #[inline]
    pub(crate) fn encode(self) -> u32 {
        debug_assert!(self.number < NUMBERS && self.credits <= CREDITS_MAX && self.units <= UNITS_MAX);
        (self.kind as u32) << 29 | self.number << 25 | self.credits << 17 | self.units
    }

    /// `None`: a kind that this version does not know.
    #[inline]
    pub(crate) fn decode(word: u32) -> Option<Note> {
        let kind = *Kind::ALL.get((word >> 29) as usize)?;
        let (number, credits) = (word >> 25 & (NUMBERS - 1), word >> 17 & CREDITS_MAX);
        Some(Note { kind, number, credits, units: word & UNITS_MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_the_wire_and_unknown_kinds_are_told_apart() {
        for kind in Kind::ALL {
            let most = (NUMBERS - 1, CREDITS_MAX, UNITS_MAX);
            let some = [(0, 0, 0), (most.0, 0, 0), (0, most.1, 0), (0, 0, most.2), (5, 17, 4097), most];
            for (number, credits, units) in some {
                let note = Note { kind, number, credits, units };
                assert_eq!(Note::decode(note.encode()), Some(note));
            }
        }
        assert_eq!(Note::decode(u32::MAX), None);
        assert_eq!(Note::decode(6 << 29), None);
    }
}
