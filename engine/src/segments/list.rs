//! Lists of segments, linked through their headers: no memory of their own, and every change takes the same time.

use super::header::{NO_SEGMENT, SegmentHeader};

/// Segments in an order. A segment is in one such list at most.
#[derive(Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: usize,
}

impl List {
    pub(super) const EMPTY: List = List { first: NO_SEGMENT, last: NO_SEGMENT, len: 0 };

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_back(&mut self, headers: &mut [SegmentHeader], segment: u32) {
        let last = std::mem::replace(&mut self.last, segment);
        (headers[segment as usize].previous, headers[segment as usize].next) = (last, NO_SEGMENT);
        match headers.get_mut(last as usize) {
            Some(header) => header.next = segment,
            None => self.first = segment,
        }
        self.len += 1;
    }

    pub(super) fn push_front(&mut self, headers: &mut [SegmentHeader], segment: u32) {
        let first = std::mem::replace(&mut self.first, segment);
        (headers[segment as usize].previous, headers[segment as usize].next) = (NO_SEGMENT, first);
        match headers.get_mut(first as usize) {
            Some(header) => header.previous = segment,
            None => self.last = segment,
        }
        self.len += 1;
    }

    pub(super) fn pop_front(&mut self, headers: &mut [SegmentHeader]) -> Option<u32> {
        let first = (self.first != NO_SEGMENT).then_some(self.first)?;
        self.remove(headers, first);
        Some(first)
    }

    /// From the first on.
    pub(super) fn iter<'a>(&self, headers: &'a [SegmentHeader]) -> impl Iterator<Item = u32> + use<'a> {
        let is_one = |segment: &u32| *segment != NO_SEGMENT;
        let next = move |segment: &u32| Some(headers[*segment as usize].next).filter(is_one);
        std::iter::successors(Some(self.first).filter(is_one), next)
    }

    /// Takes out a segment that is in this list.
    pub(super) fn remove(&mut self, headers: &mut [SegmentHeader], segment: u32) {
        let SegmentHeader { previous, next, .. } = headers[segment as usize];
        match headers.get_mut(previous as usize) {
            Some(header) => header.next = next,
            None => self.first = next,
        }
        match headers.get_mut(next as usize) {
            Some(header) => header.previous = previous,
            None => self.last = previous,
        }
        self.len -= 1;
    }
}

/// Segments that wait for a job, in the order in which they came; apart from the list that they are in.
#[derive(Debug)]
pub(super) struct Line {
    first: u32,
    last: u32,
    /// How many segments have come, and how many have gone.
    pushed: u64,
    popped: u64,
    /// Segments up to this number in the order of their coming have waited long enough.
    ripe: u64,
}

impl Line {
    pub(super) const EMPTY: Line =
        Line { first: NO_SEGMENT, last: NO_SEGMENT, pushed: 0, popped: 0, ripe: 0 };

    pub(super) fn is_empty(&self) -> bool {
        self.first == NO_SEGMENT
    }

    /// Those that wait now have waited long enough.
    pub(super) fn ripen(&mut self) {
        self.ripe = self.pushed;
    }

    /// Whether the first has waited long enough.
    pub(super) fn is_ripe(&self) -> bool {
        self.popped < self.ripe
    }

    /// Adds a segment, unless it waits already.
    pub(super) fn push(&mut self, headers: &mut [SegmentHeader], segment: u32) {
        let header = &mut headers[segment as usize];
        if std::mem::replace(&mut header.queued, true) {
            return;
        }
        header.behind = NO_SEGMENT;
        match headers.get_mut(self.last as usize) {
            Some(last) => last.behind = segment,
            None => self.first = segment,
        }
        self.last = segment;
        self.pushed += 1;
    }

    pub(super) fn pop(&mut self, headers: &mut [SegmentHeader]) -> Option<u32> {
        let first = (self.first != NO_SEGMENT).then_some(self.first)?;
        let header = &mut headers[first as usize];
        header.queued = false;
        self.popped += 1;
        self.first = header.behind;
        if self.is_empty() {
            self.last = NO_SEGMENT;
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
        #[test]
        fn a_list_is_a_deque_without_searches(changes in prop::collection::vec((0u8..5, 0u32..20), 0..200)) {
            let mut headers = vec![SegmentHeader::new(0); 20];
            let (mut list, mut model) = (List::EMPTY, VecDeque::new());
            let (mut line, mut waiting) = (Line::EMPTY, VecDeque::new());
            for (what, segment) in changes {
                let at = model.iter().position(|&other| other == segment);
                match (what, at) {
                    (0, None) => { list.push_back(&mut headers, segment); model.push_back(segment); }
                    (1, None) => { list.push_front(&mut headers, segment); model.push_front(segment); }
                    (2, _) => prop_assert_eq!(list.pop_front(&mut headers), model.pop_front()),
                    (0 | 1, Some(at)) => { list.remove(&mut headers, segment); model.remove(at); }
                    (3, _) => {
                        line.push(&mut headers, segment);
                        if !waiting.contains(&segment) { waiting.push_back(segment); }
                    }
                    _ => prop_assert_eq!(line.pop(&mut headers), waiting.pop_front()),
                }
                prop_assert_eq!((list.len(), line.is_empty()), (model.len(), waiting.is_empty()));
            }
            prop_assert_eq!(list.iter(&headers).collect::<Vec<_>>(), Vec::from(model.clone()));
            let rest: Vec<u32> = std::iter::from_fn(|| list.pop_front(&mut headers)).collect();
            prop_assert_eq!(rest, Vec::from(model));
        }
    }
}
