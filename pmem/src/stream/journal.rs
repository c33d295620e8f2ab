//! A stream's journal: what has to be safe before there is enough of it for a batch of the stream.
//!
//! ```text
//!   records --+--> open batch of the stream, in memory ---- large enough: written ----> stream
//!             |                                                                          |
//!             +--> open batch of the journal -- safe now: written, drained --> journal   | frees
//!                                                                                 ^------+
//! ```
//!
//! A stream's batch takes whole blocks, so one of few records loses most of them for as long as it is kept. A journal's batch
//! loses them until the stream has what it holds. Each says in which batch of the stream that is: if the stream ends behind
//! where that begins, it is there, and so is everything that came later than this and before that. So after a crash what a
//! journal still has alone is newer than all that its stream has.

use super::pack::Unfit;
use super::writer::{Figures, StreamWriter, WriteError};
use crate::format::geometry::Place;
use crate::format::record::Record;

/// Appends to a journal.
#[derive(Debug)]
pub struct Journal {
    writer: StreamWriter,
    /// What came since the last commit did not fit into one batch: only the stream has all of it.
    is_short: bool,
}

impl Journal {
    /// The journal that a writer of its ring writes.
    pub(crate) fn new(writer: StreamWriter) -> Journal {
        Journal { writer, is_short: false }
    }

    /// Adds what was added to the batch of the stream that begins at `start`, too. The place can be read when that was committed,
    /// until it is freed.
    pub fn add(&mut self, start: u64, record: &Record, bytes: &[u8]) -> Option<Place> {
        if self.is_short {
            return None;
        }
        let mark = match self.writer.waiting() {
            0 => self.writer.add(&Record::packed(start, record.slot), &[]).err(),
            _ => None,
        };
        let added: Result<_, Unfit> = mark.map_or_else(|| self.writer.add(record, bytes), Err);
        self.is_short = added.is_err();
        added.ok().flatten()
    }

    /// Whether what was added since the last commit can be committed.
    pub fn has_room(&self) -> bool {
        !self.is_short && !self.writer.lacks_room()
    }

    /// Whether anything was added since the last commit, and fits.
    pub fn waits(&self) -> bool {
        self.writer.waiting() > 0
    }

    /// Makes safe what was added.
    ///
    /// # Errors
    /// The medium's, after which the journal is latched.
    pub fn commit(&mut self) -> Result<(), WriteError> {
        self.writer.commit()
    }

    /// The stream has written what was added and not committed.
    pub fn skip(&mut self) {
        self.writer.forget();
        self.is_short = false;
    }

    /// Position behind what was committed last.
    pub fn written_up_to(&self) -> u64 {
        self.writer.written_up_to()
    }

    /// Frees what was committed below a position: the stream has drained it, and nobody names a place there.
    pub fn free_below(&mut self, position: u64) {
        self.writer.free_below(position);
    }

    pub fn figures(&self) -> Figures {
        self.writer.figures()
    }

    /// Ends, with nothing in it: the stream was closed before.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn close(mut self) -> Result<(), WriteError> {
        self.skip();
        self.free_below(self.written_up_to());
        self.writer.close()
    }
}
