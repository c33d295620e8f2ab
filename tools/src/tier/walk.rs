//! Going through what a tier holds, a page at a time.

use crate::exit::Failure;
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
}

/// Goes through a stream, newest first, and stops at the first failure.
pub(super) fn stream(
    tier: &Tier,
    stream: u16,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), Failure>,
) -> Result<(StreamEnd, Counts), Failure> {
    let mut records: Vec<(Record, Option<Place>)> = Vec::new();
    let mut result = Ok(());
    let mut give = |met: Met<'_>| {
        if result.is_ok() {
            result = visit(met);
        }
    };
    let found = tier.recover(stream, &mut |event| {
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
        }
    });
    if !records.is_empty() {
        give(Met::Records(&records));
    }
    result?;
    found.map_err(Failure::failed)
}
