//! A recount of the table, for tests.

use super::{ENTRIES_PER_BUCKET, Elsewhere, Ordered, Words, in_use};

impl Ordered {
    /// Whether entries lie in order, each behind full buckets from its home on. Shows all of them to `visit`.
    ///
    /// # Errors
    /// The first that does not, in words.
    pub(in crate::index) fn audit(&self, mut visit: impl FnMut(&Elsewhere)) -> Result<(), String> {
        let (mut count, mut before, mut full_from) = (0, 0, 0);
        for (number, bucket) in self.lines.entries().chunks_exact(ENTRIES_PER_BUCKET).enumerate() {
            let used = in_use(self.lines.entries(), number);
            if !bucket[used..].iter().all(Words::is_empty) {
                return Err(format!("a gap in bucket {number} of places"));
            }
            for entry in bucket[..used].iter().filter_map(Words::entry) {
                let home = self.homes.of(entry.hash);
                if entry.hash < before || !(full_from..=number).contains(&home) {
                    return Err(format!("out of order, or its home {home}, in bucket {number}: {entry:?}"));
                }
                (count, before) = (count + 1, entry.hash);
                visit(&entry);
            }
            full_from = if used == ENTRIES_PER_BUCKET { full_from } else { number + 1 };
        }
        let told = self.count;
        if count == told { Ok(()) } else { Err(format!("{count} places, not {told}")) }
    }
}
