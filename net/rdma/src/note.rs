//! The immediate of each message: what it is, and what its sender gives back.
//!
//! ```text
//!   31     28 27      20 19                    0
//!  +---------+----------+-----------------------+
//!  | kind    | credits  | room, in units        |
//!  +---------+----------+-----------------------+
//! ```
//!
//! *credits*: receives that the sender has posted anew for the other side's messages. *room*: units of [`UNIT`] bytes that the
//! other side may use again: from a client, of its landing; from a server, of the client's lending.

/// Bytes of which room is given back as a whole.
pub(crate) const UNIT: usize = 64;

/// What one message gives back at most.
pub(crate) const CREDITS_MAX: u32 = 255;
pub(crate) const UNITS_MAX: u32 = (1 << 20) - 1;

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
    /// To be answered with [`Kind::Return`].
    Ping = 4,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Bytes, Kind::Landed, Kind::Lent, Kind::Return, Kind::Ping];

    /// Whether the sender needs a credit for it.
    pub(crate) fn takes_credit(self) -> bool {
        !matches!(self, Kind::Return | Kind::Ping)
    }
}

/// An immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    pub(crate) credits: u32,
    pub(crate) units: u32,
}

impl Note {
    #[inline]
    pub(crate) fn encode(self) -> u32 {
        debug_assert!(self.credits <= CREDITS_MAX && self.units <= UNITS_MAX);
        (self.kind as u32) << 28 | self.credits << 20 | self.units
    }

    /// `None`: a kind that this version does not know.
    #[inline]
    pub(crate) fn decode(word: u32) -> Option<Note> {
        let kind = *Kind::ALL.get((word >> 28) as usize)?;
        Some(Note { kind, credits: word >> 20 & CREDITS_MAX, units: word & UNITS_MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_the_wire_and_unknown_kinds_are_told_apart() {
        for kind in Kind::ALL {
            for (credits, units) in [(0, 0), (CREDITS_MAX, 0), (0, UNITS_MAX), (17, 4097)] {
                let note = Note { kind, credits, units };
                assert_eq!(Note::decode(note.encode()), Some(note));
            }
        }
        assert_eq!(Note::decode(u32::MAX), None);
        assert_eq!(Note::decode(5 << 28), None);
    }
}
