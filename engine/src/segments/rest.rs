//! Freed segments whose memory somebody may still read.

use super::{Phase, Segments};
use std::fmt::Debug;

/// Says when the memory of a freed segment may be used again. Segments rest in the order in which they were freed, and are
/// numbered in it.
pub trait Rest: Debug {
    /// A segment begins to rest: readers that begin from here on find nothing that leads to it.
    fn begin(&mut self, number: u64);
    /// Whether nobody reads this segment any more, nor one before it.
    fn is_unread(&mut self, number: u64) -> bool;
    /// Too many rest: sees to it that nobody reads this one any more, whatever that costs the readers.
    fn end(&mut self, number: u64);
}

/// One in this many segments may rest, and one in any case: eviction works that much further ahead.
const RESTING_SHARE: usize = 20;
/// Segments that may rest at most: fewer than a command frees to find room.
const RESTING_MAX: usize = 32;

impl Segments {
    /// From now on freed segments rest by this rule; without one they do not.
    pub(crate) fn let_rest(&mut self, rule: Box<dyn Rest>) {
        self.rest = Some(rule);
    }

    /// Segments that rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    pub(super) fn begin_rest(&mut self, segment: u32) {
        let number = self.rested + self.resting.len() as u64;
        self.headers[segment as usize].phase = Phase::Resting;
        self.resting.push_back(&mut self.headers, segment);
        self.rest.iter_mut().for_each(|rule| rule.begin(number));
        self.end_rests();
    }

    /// Makes segments free that have rested, and those that are too many.
    pub(crate) fn end_rests(&mut self) {
        let Some(mut rule) = self.rest.take() else { return };
        let resting_max = (self.count_max / RESTING_SHARE).clamp(1, RESTING_MAX);
        while self.resting.len() > 0 {
            if !rule.is_unread(self.rested) {
                if self.resting.len() <= resting_max {
                    break;
                }
                rule.end(self.rested);
            }
            self.rested += 1;
            if let Some(segment) = self.resting.pop_front(&mut self.headers) {
                self.reuse(segment);
            }
        }
        self.rest = Some(rule);
    }
}
