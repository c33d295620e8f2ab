//! Which connection a queue pair is of, by its number, which the device chooses.

use crate::transport::ConnId;

/// A table with linear probing, at most half full.
#[derive(Debug)]
pub(super) struct Numbers {
    places: Vec<Option<(u32, ConnId)>>,
}

impl Numbers {
    /// For at most so many.
    pub(super) fn new(max: usize) -> Numbers {
        Numbers { places: vec![None; (2 * max).next_power_of_two().max(8)] }
    }

    #[inline]
    fn place(&self, number: u32) -> usize {
        let mask = self.places.len() - 1;
        let mut at = number as usize & mask;
        while self.places[at].is_some_and(|(other, _)| other != number) {
            at = (at + 1) & mask;
        }
        at
    }

    #[inline]
    pub(super) fn find(&self, number: u32) -> Option<ConnId> {
        self.places[self.place(number)].map(|(_, conn)| conn)
    }

    pub(super) fn insert(&mut self, number: u32, conn: ConnId) {
        let place = self.place(number);
        self.places[place] = Some((number, conn));
    }

    /// Takes one out, and puts those behind it where they are found again.
    pub(super) fn remove(&mut self, number: u32) {
        let mask = self.places.len() - 1;
        let mut at = self.place(number);
        self.places[at] = None;
        loop {
            at = (at + 1) & mask;
            match self.places[at].take() {
                Some((number, conn)) => self.insert(number, conn),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn what_is_in_is_found_whatever_came_and_went() {
        let (mut numbers, mut model) = (Numbers::new(16), HashMap::new());
        let mut seed = 1u32;
        for step in 0..10_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Few numbers, which meet at the same places.
            let number = (seed >> 16) % 24 * 16;
            if model.len() < 16 && seed & 0x400 != 0 {
                let conn = ConnId { index: step, generation: 0 };
                numbers.insert(number, conn);
                model.insert(number, conn);
            } else if model.remove(&number).is_some() {
                numbers.remove(number);
            }
            for number in (0..24).map(|number| number * 16) {
                assert_eq!(numbers.find(number), model.get(&number).copied());
            }
        }
    }
}
