//! Going through what a tier holds, a page at a time.

use crate::exit::Failure;
use std::fmt;
use torc_pmem::format::batch::Part;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::Record;
use torc_pmem::recover::{Counts, Event, Lost, StreamEnd};
use torc_pmem::tier::Tier;

/// What is met on the way.
pub(super) enum Met<'m> {
    /// Records that lie in one page, or marks, which lie in none; at most as many as a page can have. As they were told: the
    /// last one first.
    Records(&'m [(Record, Option<Place>)]),
    Lost(&'m Lost),
    /// A part of a snapshot with so many records.
    Part(Part, u32),
}

/// A stream, or its journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) stream: u16,
    pub(super) is_journal: bool,
}

impl fmt::Display for Piece {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_journal { "journal" } else { "stream" };
        write!(formatter, "{what} {}", self.stream)
    }
}

/// All streams, and behind them their journals.
pub(super) fn pieces(tier: &Tier) -> impl Iterator<Item = Piece> {
    let streams = tier.config().streams;
    (0..tier.rings()).map(move |number| Piece { stream: number % streams, is_journal: number >= streams })
}

/// Goes through a stream or a journal, newest first, and stops at the first failure.
pub(super) fn stream(
    tier: &Tier,
    piece: Piece,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), Failure>,
) -> Result<(StreamEnd, Counts), Failure> {
    let mut records: Vec<(Record, Option<Place>)> = Vec::new();
    let mut result = Ok(());
    let mut give = |met: Met<'_>| {
        if result.is_ok() {
            result = visit(met);
        }
    };
    let number = if piece.is_journal { tier.config().streams + piece.stream } else { piece.stream };
    let found = tier.recover_all(number, &mut |event| {
        let unit = |place: Option<Place>| place.map(Place::unit);
        let goes_on = match (&event, records.last()) {
            (Event::Record { place, .. }, Some((_, last))) => {
                unit(*place) == unit(*last) && records.len() < Place::ORDINALS
            }
            _ => false,
        };
        if !goes_on && !records.is_empty() {
            give(Met::Records(&records));
            records.clear();
        }
        match event {
            Event::Record { record, place } => records.push((record, place)),
            Event::Lost(lost) => give(Met::Lost(&lost)),
            Event::Part { part, records } => give(Met::Part(part, records)),
        }
    });
    if !records.is_empty() {
        give(Met::Records(&records));
    }
    result?;
    found.map_err(Failure::failed)
}
