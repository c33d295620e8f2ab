//! A longest common subsequence of two values: LCS.
//!
//! ```text
//!   length, row by row --> back from the end, by blocks of rows that are reckoned again --> its bytes, or its stretches
//! ```
//!
//! A row of the table of lengths grows by 0 or 1 from column to column, so a bit says each step, and 64 columns are reckoned at once
//! (Crochemore, Iliopoulos, Pinzon and Reid, 2001; Hyyrö, 2004). Which way leads back from a cell can be told from that bit alone. Of the rows one in
//! [`ROWS`] is kept; the others are reckoned again, a block at a time, on the way back (as Hirschberg, 1975, trades time for room).
//!
//! Of several longest subsequences Redis gives a certain one; so does the order of the steps here.

use crate::session::{Compare, Stretch};

/// Longest value that is compared, bytes. The time is the product of the lengths by 64: some ten milliseconds, in steps.
pub(super) const BYTES_MAX: u64 = 32 << 10;
/// Rows of a block.
const ROWS: usize = 128;

#[derive(Debug)]
pub(super) struct Comparison {
    asked: Compare,
    /// A row for each byte of the first, a column for each of the second.
    values: [Vec<u8>; 2],
    /// Words of a row.
    words: usize,
    /// The columns of each byte that both values have, as bits, and where those of a byte begin.
    columns: Vec<u64>,
    columns_of: Box<[Option<u32>; 256]>,
    /// The bytes that the first value has, and how many of the second were looked at for them.
    wanted: Box<[bool; 256]>,
    seen: usize,
    /// The last row that was reckoned: a bit is 0 where the length grows.
    row: Vec<u64>,
    rows: usize,
    /// The row before each block.
    kept: Vec<u64>,
    /// The rows of the block that is walked through, and how many rows are before it.
    block: Vec<u64>,
    block_from: Option<usize>,
    length: u64,
    /// Rows and columns that are left on the way back.
    left: Option<(usize, usize)>,
    /// Bytes of the stretch that the way is in.
    stretch: usize,
    /// Bytes from the last to the first, or packed stretches.
    found: Vec<u8>,
}

impl Comparison {
    pub(super) fn new(asked: Compare, values: [Vec<u8>; 2]) -> Comparison {
        let words = values[1].len().div_ceil(64);
        let mut wanted = Box::new([false; 256]);
        values[0].iter().for_each(|byte| wanted[usize::from(*byte)] = true);
        Comparison {
            asked,
            words,
            columns: Vec::new(),
            columns_of: Box::new([None; 256]),
            wanted,
            seen: 0,
            row: vec![u64::MAX; words],
            rows: 0,
            kept: Vec::new(),
            block: Vec::new(),
            block_from: None,
            length: 0,
            left: None,
            stretch: 0,
            found: Vec::new(),
            values,
        }
    }

    pub(super) fn asked(&self) -> Compare {
        self.asked
    }

    /// Memory that comparing values of such lengths takes at most, bytes.
    pub(super) fn bytes_for([rows, columns]: [usize; 2]) -> usize {
        let kept = rows.div_ceil(ROWS) + ROWS + rows.min(columns).min(256) + 1;
        size_of::<Comparison>()
            + size_of::<[Option<u32>; 256]>()
            + size_of::<[bool; 256]>()
            + 2 * (rows + columns)
            + 8 * columns.div_ceil(64) * kept
    }

    pub(super) fn bytes_held(&self) -> usize {
        let [rows, columns] = &self.values;
        Comparison::bytes_for([rows.len(), columns.len()])
    }

    /// Goes on for about so many words. All that it does is taken off, so that they may come to be less than none. Whether it has come to
    /// its end.
    pub(super) fn go_on(&mut self, words: &mut isize) -> bool {
        if !self.find_columns(words) {
            return false;
        }
        while self.rows < self.values[0].len() {
            if *words <= 0 {
                return false;
            }
            if self.rows.is_multiple_of(ROWS) && self.asked != Compare::Length {
                self.kept.extend_from_slice(&self.row);
            }
            let byte = self.values[0][self.rows];
            reckon(&mut self.row, columns(&self.columns, &self.columns_of, byte));
            self.rows += 1;
            *words -= self.words.max(1) as isize;
        }
        if self.left.is_none() {
            self.length = self.row.iter().map(|word| u64::from(word.count_zeros())).sum();
            let is_all = self.asked == Compare::Length;
            self.left = Some(if is_all { (0, 0) } else { (self.values[0].len(), self.values[1].len()) });
        }
        self.walk_back(words)
    }

    /// Finds the columns of the bytes that both values have. Whether all are found.
    fn find_columns(&mut self, words: &mut isize) -> bool {
        while let Some(bytes) = self.values[1].get(self.seen..).filter(|bytes| !bytes.is_empty()) {
            if *words <= 0 {
                return false;
            }
            let bytes = &bytes[..bytes.len().min(64)];
            for (bit, byte) in (0..).zip(bytes).filter(|(_, byte)| self.wanted[usize::from(**byte)]) {
                let from = *self.columns_of[usize::from(*byte)].get_or_insert_with(|| {
                    *words -= self.words as isize;
                    self.columns.resize(self.columns.len() + self.words, 0);
                    (self.columns.len() - self.words) as u32
                });
                self.columns[from as usize + self.seen / 64] |= 1u64 << bit;
            }
            *words -= bytes.len() as isize;
            self.seen += bytes.len();
        }
        true
    }

    /// Walks back from the end, through about so many words of blocks. Whether it has come to the start.
    fn walk_back(&mut self, words: &mut isize) -> bool {
        let (mut row, mut column) = self.left.unwrap_or_default();
        while row > 0 && column > 0 {
            let from = (row - 1) / ROWS * ROWS;
            if self.block_from != Some(from) {
                if *words <= 0 {
                    self.left = Some((row, column));
                    return false;
                }
                self.reckon_block(from, row);
                *words -= self.block.len().max(1) as isize;
            }
            if self.values[0][row - 1] == self.values[1][column - 1] {
                (row, column) = (row - 1, column - 1);
                self.stretch += 1;
                if self.asked == Compare::Bytes {
                    self.found.push(self.values[0][row]);
                }
                continue;
            }
            self.end_stretch(row, column);
            let word = self.block[(row - 1 - from) * self.words + (column - 1) / 64];
            match word >> ((column - 1) % 64) & 1 {
                // Without this column the length would be less, so it is as great without this row.
                0 => row -= 1,
                _ => column -= 1,
            }
        }
        self.end_stretch(row, column);
        self.left = Some((0, 0));
        true
    }

    /// Reckons the rows of a block up to one of them.
    fn reckon_block(&mut self, from: usize, to: usize) {
        let kept = from / ROWS * self.words;
        let mut row = self.kept[kept..kept + self.words].to_vec();
        self.block.clear();
        for byte in &self.values[0][from..to] {
            reckon(&mut row, columns(&self.columns, &self.columns_of, *byte));
            self.block.extend_from_slice(&row);
        }
        self.block_from = Some(from);
    }

    fn end_stretch(&mut self, row: usize, column: usize) {
        let len = std::mem::take(&mut self.stretch);
        if let Compare::Stretches { bytes_min, .. } = self.asked
            && len as u64 >= bytes_min.max(1)
        {
            Stretch { starts: [row as u32, column as u32], len: len as u32 }.pack(&mut self.found);
        }
    }

    /// The length, and what was asked for: bytes, or packed [`Stretch`]es.
    pub(super) fn into_found(mut self) -> (u64, Vec<u8>) {
        if self.asked == Compare::Bytes {
            self.found.reverse();
        }
        (self.length, self.found)
    }
}

/// The columns of a byte; none, if the second value has no such byte.
fn columns<'c>(columns: &'c [u64], columns_of: &[Option<u32>; 256], byte: u8) -> Option<&'c [u64]> {
    columns_of[usize::from(byte)].map(|from| &columns[from as usize..])
}

/// The next row: behind the byte that has these columns.
fn reckon(row: &mut [u64], columns: Option<&[u64]>) {
    let Some(columns) = columns else { return };
    let mut carry = false;
    for (word, columns) in row.iter_mut().zip(columns) {
        let (sum, over) = word.overflowing_add(*word & columns);
        let (sum, over_by_carry) = sum.overflowing_add(carry.into());
        carry = over | over_by_carry;
        *word = sum | (*word & !columns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Length, bytes and stretches from the whole table, as Redis walks back through it.
    fn model([one, other]: [&[u8]; 2], bytes_min: u64) -> (u64, Vec<u8>, Vec<Stretch>) {
        let mut table = vec![vec![0u64; other.len() + 1]; one.len() + 1];
        for (row, byte) in one.iter().enumerate() {
            for (column, with) in other.iter().enumerate() {
                table[row + 1][column + 1] = match byte == with {
                    true => table[row][column] + 1,
                    false => table[row][column + 1].max(table[row + 1][column]),
                };
            }
        }
        let (mut row, mut column) = (one.len(), other.len());
        let (mut bytes, mut stretches, mut len) = (Vec::new(), Vec::new(), 0);
        loop {
            let is_same = row > 0 && column > 0 && one[row - 1] == other[column - 1];
            if !is_same && len > 0 && u64::from(len) >= bytes_min {
                stretches.push(Stretch { starts: [row as u32, column as u32], len });
            }
            if row == 0 || column == 0 {
                break;
            }
            if is_same {
                (row, column, len) = (row - 1, column - 1, len + 1);
                bytes.insert(0, one[row]);
                continue;
            }
            len = 0;
            if table[row - 1][column] > table[row][column - 1] { row -= 1 } else { column -= 1 }
        }
        (table[one.len()][other.len()], bytes, stretches)
    }

    fn compared(asked: Compare, values: [&[u8]; 2], words: isize) -> (u64, Vec<u8>) {
        let mut comparison = Comparison::new(asked, values.map(<[u8]>::to_vec));
        let mut turns = 0;
        while !comparison.go_on(&mut { words }) {
            turns += 1;
            assert!(turns < 100_000, "it comes to an end");
        }
        assert!(comparison.go_on(&mut { words }), "and stays there");
        comparison.into_found()
    }

    fn is_as_the_model([one, other]: [&[u8]; 2], bytes_min: u64, words: isize) {
        let (length, bytes, stretches) = model([one, other], bytes_min);
        assert_eq!(compared(Compare::Length, [one, other], words), (length, Vec::new()));
        assert_eq!(compared(Compare::Bytes, [one, other], words), (length, bytes));
        let asked = Compare::Stretches { bytes_min, with_lengths: false };
        let (told, packed) = compared(asked, [one, other], words);
        assert_eq!((told, Stretch::each(&packed).collect::<Vec<_>>()), (length, stretches));
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_the_whole_table_says(
            one in prop::collection::vec(b'a'..b'd', 0..300),
            other in prop::collection::vec(b'a'..b'e', 0..200),
            bytes_min in 0..5u64,
            words in 1..2000isize,
        ) {
            is_as_the_model([&one, &other], bytes_min, words);
        }
    }

    #[test]
    fn values_without_anything_in_common_and_the_same_value_are_compared() {
        let all: Vec<u8> = (0..=255).cycle().take(700).collect();
        for values in
            [[&b""[..], b""], [b"a", b""], [b"", b"a"], [b"abc", b"xyz"], [&all, &all], [&all, b"a"]]
        {
            is_as_the_model(values, 0, 7);
        }
    }

    #[test]
    fn all_that_is_done_is_taken_off_however_little_may_be_done_at_a_time() {
        let long: Vec<u8> = (0..5000u32).map(|at| ((at * at) >> 5) as u8).collect();
        let done = |one: &[u8], words: isize| {
            let mut comparison = Comparison::new(Compare::Bytes, [one.to_vec(), long.clone()]);
            let (mut done, mut turns) = (0, 1);
            loop {
                let mut left = words;
                let is_over = comparison.go_on(&mut left);
                done += words - left;
                if is_over {
                    return (done, turns);
                }
                turns += 1;
            }
        };
        let (all, _) = done(&long, isize::MAX);
        let (in_parts, turns) = done(&long, 1000);
        assert_eq!(all, in_parts);
        // Rows, each block of them once more, and columns.
        assert!(all >= 2 * 5000 * 79 && turns > 100, "{all}, {turns} turns");
        let (for_a_byte, turns) = done(b"a", 1000);
        assert!(for_a_byte < 6000 && turns >= 5, "{for_a_byte}, {turns} turns");
    }

    #[test]
    fn no_more_memory_is_taken_than_is_said() {
        let one: Vec<u8> = (0..5000u32).map(|at| ((at * at) >> 5) as u8).collect();
        let other: Vec<u8> = (0..3000u32).map(|at| ((at * 7) >> 3) as u8).collect();
        let mut comparison = Comparison::new(Compare::Bytes, [one, other]);
        assert!(comparison.go_on(&mut { isize::MAX }));
        let Comparison { columns, row, kept, block, found, .. } = &comparison;
        let words: usize = [columns, row, kept, block].map(Vec::len).iter().sum();
        assert!(words * 8 + found.len() <= comparison.bytes_held());
    }
}
