//! Bits of several values, combined: BITOP.
//!
//! Values are taken one after the other, each in pieces. Nothing is kept of them but what they come to so far, in blocks that can be
//! stored one by one.

use super::share::LEAST_BYTES;
use crate::session::BitOperation;
use std::collections::VecDeque;
use torc_engine::bytes::Bytes;

/// Bytes of a block: what is stored at a time, and in a turn at least.
const BLOCK_BYTES: usize = LEAST_BYTES;
/// Bytes that are copied at a time, to where they can be combined.
const COPIED_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Combination {
    operation: BitOperation,
    combined: VecDeque<Vec<u8>>,
    /// What some operations keep beside: the first value, or the bits that several values have.
    beside: VecDeque<Vec<u8>>,
    /// Length of the longest value that was taken.
    len: usize,
    /// Length of the shortest one. Behind it AND has zeros, whatever was combined there.
    shortest: usize,
    values: usize,
    /// Bytes that were taken of the next value.
    taken: usize,
    /// Bytes that were given.
    given: usize,
}

impl Combination {
    pub(super) fn new(operation: BitOperation) -> Combination {
        let (combined, beside) = (VecDeque::new(), VecDeque::new());
        let (len, shortest) = (0, usize::MAX);
        Combination { operation, combined, beside, len, shortest, values: 0, taken: 0, given: 0 }
    }

    /// Length of the longest value that was taken.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.combined.iter().chain(&self.beside).map(Vec::capacity).sum()
    }

    /// Memory that it takes more, about, when a value of so many bytes has been taken.
    pub(super) fn bytes_for(&self, len: usize) -> usize {
        len.saturating_sub(self.len) * if self.keeps_beside() { 2 } else { 1 }
    }

    fn keeps_beside(&self) -> bool {
        matches!(self.operation, BitOperation::Diff1 | BitOperation::AndOr | BitOperation::One)
    }

    /// Takes more of a value.
    pub(super) fn take(&mut self, mut bytes: Bytes<'_>) {
        let (mut copy, keeps_beside) = ([0; COPIED_BYTES], self.keeps_beside());
        while !bytes.is_empty() {
            let (block, from) = (self.taken / BLOCK_BYTES, self.taken % BLOCK_BYTES);
            let count = bytes.len().min(COPIED_BYTES).min(BLOCK_BYTES - from);
            let place = (block, from..from + count);
            let piece = &mut copy[..count];
            bytes.slice(0..count).copy_to(piece);
            let combined = grown(&mut self.combined, place.clone());
            let beside = if keeps_beside { grown(&mut self.beside, place) } else { &mut [] };
            combine((self.operation, self.values == 0), combined, beside, piece);
            bytes = bytes.behind(count);
            self.taken += count;
        }
    }

    /// The value ends here; one that is not there has no bytes. What is behind it counts as zeros.
    pub(super) fn end_value(&mut self) {
        self.len = self.len.max(self.taken);
        self.shortest = self.shortest.min(self.taken);
        self.values += 1;
        self.taken = 0;
    }

    /// Whether all blocks were given.
    pub(super) fn is_given(&self) -> bool {
        self.combined.is_empty()
    }

    /// All that is left of what all values come to.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut all = self.next_block().unwrap_or_default();
        while let Some(block) = self.next_block() {
            all.extend_from_slice(&block);
        }
        all
    }

    /// The next block of what all values come to, behind the last one.
    pub(super) fn next_block(&mut self) -> Option<Vec<u8>> {
        let mut block = self.combined.pop_front()?;
        let beside = self.beside.pop_front().unwrap_or_default();
        match self.operation {
            BitOperation::Not => block.iter_mut().for_each(|byte| *byte = !*byte),
            BitOperation::AndOr => each(&mut block, &beside, |byte, first| byte & first),
            BitOperation::Diff1 | BitOperation::One => {
                each(&mut block, &beside, |byte, without| byte & !without);
            }
            BitOperation::And => {
                let kept = self.shortest.saturating_sub(self.given).min(block.len());
                block[kept..].fill(0);
            }
            BitOperation::Or | BitOperation::Xor | BitOperation::Diff => {}
        }
        self.given += block.len();
        Some(block)
    }
}

/// A part of a block; zeros where nothing was before.
fn grown(blocks: &mut VecDeque<Vec<u8>>, (block, place): (usize, std::ops::Range<usize>)) -> &mut [u8] {
    if blocks.len() <= block {
        blocks.resize_with(block + 1, Vec::new);
    }
    let block = &mut blocks[block];
    if block.len() < place.end {
        block.resize(place.end, 0);
    }
    &mut block[place]
}

/// Combines a piece of a value with what those before come to.
fn combine(
    (operation, is_first): (BitOperation, bool),
    combined: &mut [u8],
    beside: &mut [u8],
    piece: &[u8],
) {
    match (operation, is_first) {
        (BitOperation::Not, _) | (BitOperation::And | BitOperation::Diff, true) => {
            combined.copy_from_slice(piece);
        }
        (BitOperation::Diff1 | BitOperation::AndOr, true) => beside.copy_from_slice(piece),
        (BitOperation::And, false) => each(combined, piece, |byte, other| byte & other),
        (BitOperation::Diff, false) => each(combined, piece, |byte, other| byte & !other),
        (BitOperation::Xor, _) => each(combined, piece, |byte, other| byte ^ other),
        (BitOperation::One, _) => {
            let pairs = combined.iter_mut().zip(beside).zip(piece);
            pairs.for_each(|((once, again), byte)| {
                *again |= *once & byte;
                *once |= byte;
            });
        }
        (BitOperation::Or, _) | (BitOperation::Diff1 | BitOperation::AndOr, false) => {
            each(combined, piece, |byte, other| byte | other);
        }
    }
}

fn each(bytes: &mut [u8], others: &[u8], combine: impl Fn(u8, u8) -> u8) {
    bytes.iter_mut().zip(others).for_each(|(byte, other)| *byte = combine(*byte, *other));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPERATIONS: [BitOperation; 8] = [
        BitOperation::And,
        BitOperation::Or,
        BitOperation::Xor,
        BitOperation::Not,
        BitOperation::Diff,
        BitOperation::Diff1,
        BitOperation::AndOr,
        BitOperation::One,
    ];

    /// Bit by bit, from the definition of each operation.
    fn model(operation: BitOperation, values: &[Vec<u8>]) -> Vec<u8> {
        let len = values.iter().map(Vec::len).max().unwrap_or_default();
        let has =
            |value: &Vec<u8>, bit: usize| value.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
        let mut out = vec![0; len];
        for bit in 0..len * 8 {
            let first = has(&values[0], bit);
            let count = values.iter().filter(|value| has(value, bit)).count();
            let others = count - usize::from(first);
            let is_set = match operation {
                BitOperation::And => count == values.len(),
                BitOperation::Or => count > 0,
                BitOperation::Xor => count % 2 == 1,
                BitOperation::Not => !first,
                BitOperation::Diff => first && others == 0,
                BitOperation::Diff1 => !first && others > 0,
                BitOperation::AndOr => first && others > 0,
                BitOperation::One => count == 1,
            };
            out[bit / 8] |= u8::from(is_set) << (bit % 8);
        }
        out
    }

    fn combined(operation: BitOperation, values: &[Vec<u8>], piece: usize) -> Vec<u8> {
        let mut combination = Combination::new(operation);
        for value in values {
            value.chunks(piece).for_each(|piece| combination.take(Bytes::from(piece)));
            combination.end_value();
        }
        let len = combination.len();
        let mut out = Vec::new();
        while let Some(block) = combination.next_block() {
            out.extend(block);
        }
        assert_eq!(out.len(), len);
        out
    }

    proptest! {
        #[test]
        fn bits_come_to_what_the_operation_says(
            operation in 0..OPERATIONS.len(),
            mut values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..6),
            piece in 1..70usize,
        ) {
            let operation = OPERATIONS[operation];
            if operation == BitOperation::Not {
                values.truncate(1);
            }
            prop_assert_eq!(combined(operation, &values, piece), model(operation, &values));
        }
    }

    /// There may be 65,000 of them.
    #[test]
    fn a_short_value_costs_nothing_behind_its_end() {
        let mut combination = Combination::new(BitOperation::And);
        combination.take(Bytes::from(&[0xFF; 2 * BLOCK_BYTES][..]));
        combination.end_value();
        combination.end_value();
        assert!(combination.combined.iter().all(|block| block.iter().all(|byte| *byte == 0xFF)));
        assert!(combination.rest() == [0; 2 * BLOCK_BYTES]);
    }

    #[test]
    fn values_of_several_blocks_are_combined_across_their_borders() {
        let long =
            |seed: usize, len: usize| -> Vec<u8> { (0..len).map(|at| ((at * seed) >> 3) as u8).collect() };
        let values = [
            long(7, BLOCK_BYTES + 5),
            long(11, 2 * BLOCK_BYTES + COPIED_BYTES + 1),
            long(13, BLOCK_BYTES),
            Vec::new(),
            long(17, BLOCK_BYTES - 1),
        ];
        for operation in OPERATIONS {
            for values in [&values[..1], &values[..3], &values[..], &values[3..]] {
                let values = if operation == BitOperation::Not { &values[..1] } else { values };
                assert!(combined(operation, values, 70_001) == model(operation, values), "{operation:?}");
            }
        }
    }
}
