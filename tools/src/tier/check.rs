//! `torc tier check`: reads every page and table.

use super::walk::{self, Met, Piece};
use crate::exit::{self, Failure};
use std::process::ExitCode;
use torc_pmem::format::UNIT_BYTES;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::page::BadPage;
use torc_pmem::format::record::Record;
use torc_pmem::recover::{Counts, Lost};
use torc_pmem::stream::{Miss, Reader};
use torc_pmem::tier::Tier;

#[derive(Debug, Default)]
struct Found {
    pages: u64,
    items: u64,
    tables: u64,
    damaged_pages: u64,
    damaged_tables: u64,
}

pub(super) fn run(tier: &Tier) -> Result<ExitCode, Failure> {
    let mut found = Found::default();
    let mut reader = tier.reader();
    for piece in walk::pieces(tier) {
        let mut visit = |met: Met<'_>| match met {
            Met::Records(records) => page(&mut reader, piece, records, &mut found),
            Met::Lost(lost) => exit::print(&lost_words(piece, lost)),
            Met::Part(..) => Ok(()),
        };
        let (_, counts) = walk::stream(tier, piece, &mut visit)?;
        found.tables += counts.batches + counts.parts;
        found.damaged_tables += counts.damaged;
        exit::print(&counts_words(piece, &counts))?;
    }
    let Found { pages, items, tables, damaged_pages, damaged_tables } = found;
    exit::print(&format!(
        "{pages} pages with {items} items and {tables} tables read; {damaged_pages} pages and {damaged_tables} tables are damaged\n"
    ))?;
    Ok(if damaged_pages + damaged_tables == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads the page of some records, and looks for the item of each.
fn page(
    reader: &mut Reader,
    piece: Piece,
    records: &[(Record, Option<Place>)],
    found: &mut Found,
) -> Result<(), Failure> {
    let Some(place) = records.first().and_then(|(_, place)| *place) else { return Ok(()) };
    found.pages += 1;
    found.items += records.len() as u64;
    let bad: Option<BadPage> = match reader.page(place) {
        Ok(page) => {
            let ordinals = records.iter().filter_map(|(_, place)| place.map(Place::ordinal));
            ordinals.map(|ordinal| page.item(ordinal)).find_map(Result::err)
        }
        Err(Miss::Corrupt(bad)) => Some(bad),
        Err(Miss::Media(error)) => return Err(Failure::failed(error)),
    };
    let Some(bad) = bad else { return Ok(()) };
    found.damaged_pages += 1;
    let at = place.unit() * UNIT_BYTES as u64;
    exit::print(&format!("{piece}: {bad}, at byte {at}: its {} items are lost\n", records.len()))
}

fn lost_words(piece: Piece, lost: &Lost) -> String {
    let Lost { slots, version, .. } = lost;
    if slots.is_empty() {
        return format!("{piece}: a part of a snapshot is damaged, so a start reads tables in its place\n");
    }
    let versions = if *version == u64::MAX { String::new() } else { format!(" up to version {version}") };
    format!(
        "{piece}: a table is damaged, of records of slots {} to {}{versions}\n",
        slots.start(),
        slots.end()
    )
}

/// What is to be said of a stream beside its damage.
fn counts_words(piece: Piece, counts: &Counts) -> String {
    let mut words = String::new();
    if counts.is_unreadable {
        words += &format!("{piece}: both of its checkpoints are damaged: nothing of it can be read\n");
    }
    if counts.doubtful > 0 {
        let doubtful = counts.doubtful;
        words += &format!("{piece}: {doubtful} older items are lost, as what superseded them may be\n");
    }
    if counts.cut_off_bytes > 0 {
        let bytes = counts.cut_off_bytes;
        words += &format!(
            "{piece}: {bytes} bytes behind its end were cut off before they were safe, which is no damage\n"
        );
    }
    words
}
