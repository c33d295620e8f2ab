//! What was written, in figures that go on when other streams take the place of those that were written.

use super::{Stream, Streams, TierFigures};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use torc_pmem::stream::Figures;

/// How many they are.
const FIGURES: usize = 7;

/// Figures that go on when other streams take the place of those that were written.
#[derive(Debug)]
pub(super) struct Written([u64; FIGURES]);

impl Written {
    fn figures(figures: &TierFigures) -> [&AtomicU64; FIGURES] {
        let TierFigures { records, item_bytes, written_bytes, .. } = figures;
        let TierFigures { journal_bytes, padding_bytes, drains, freed, .. } = figures;
        [records, item_bytes, written_bytes, journal_bytes, padding_bytes, drains, freed]
    }

    pub(super) fn of(figures: &TierFigures) -> Written {
        Written(Written::figures(figures).map(|figure| figure.load(Relaxed)))
    }
}

impl Streams {
    pub(super) fn publish(&self, figures: &TierFigures) {
        let (mut all, mut in_journals) = (Figures::default(), Figures::default());
        for Stream { writer, packing, .. } in &self.streams {
            all.add(&writer.figures());
            packing.iter().for_each(|packing| in_journals.add(&packing.figures()));
        }
        let since = [
            all.records,
            all.item_bytes,
            all.written_bytes + in_journals.written_bytes,
            in_journals.written_bytes,
            all.padding_bytes,
            all.drains + in_journals.drains,
            all.freed,
        ];
        for ((figure, before), since) in Written::figures(figures).into_iter().zip(self.before.0).zip(since) {
            figure.store(before + since, Relaxed);
        }
    }
}
