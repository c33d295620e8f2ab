//! One range of bytes over several media: which byte lies where.
//!
//! ```text
//!  range:     | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |       extents
//!
//!  member 0:  | 0 | 2 | 4 |                           zone 0: extents 0 to 5, in turn over both
//!  member 1:  | 1 | 3 | 5 | 6 | 7 |                   zone 1: what only the larger one has
//! ```
//!
//! Extents go over the members in turn, as far as the smallest of them reaches; those that are larger take the rest in turn. So
//! does RAID 0 of Linux' md driver with its zones.

/// Which byte of a range lies where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    zones: Vec<Zone>,
    extent_bytes: u64,
    /// What comes before the first extent of each member, bytes.
    skip_bytes: u64,
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Zone {
    /// Its first extent in the range, and on each of its members.
    first: u64,
    row: u64,
    members: Vec<usize>,
}

/// A part of a range that lies on one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub member: usize,
    /// Its first byte there.
    pub at: u64,
    pub bytes: u64,
}

impl Layout {
    /// Over members of these sizes, whose first `skip_bytes` are not used. What does not fill an extent at a member's end is not
    /// used either.
    ///
    /// # Panics
    /// If an extent is 0 bytes.
    pub fn new(member_bytes: &[u64], skip_bytes: u64, extent_bytes: u64) -> Layout {
        let rows: Vec<u64> =
            member_bytes.iter().map(|bytes| bytes.saturating_sub(skip_bytes) / extent_bytes).collect();
        let (mut zones, mut first, mut row) = (Vec::new(), 0, 0);
        while let Some(end) = rows.iter().copied().filter(|rows| *rows > row).min() {
            let members: Vec<usize> = (0..rows.len()).filter(|member| rows[*member] > row).collect();
            let extents = (end - row) * members.len() as u64;
            zones.push(Zone { first, row, members });
            (first, row) = (first + extents, end);
        }
        Layout { zones, extent_bytes, skip_bytes, bytes: first * extent_bytes }
    }

    /// Size of the range, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What goes to one member before the next has its turn, bytes.
    pub fn extent_bytes(&self) -> u64 {
        self.extent_bytes
    }

    /// The first piece of what begins at byte `at` and is `bytes` long.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn piece(&self, at: u64, bytes: u64) -> Piece {
        let (extent, within) = (at / self.extent_bytes, at % self.extent_bytes);
        let zone = self.zones.iter().rev().find(|zone| zone.first <= extent).expect("the first zone is at 0");
        let (behind, members) = (extent - zone.first, zone.members.len() as u64);
        Piece {
            member: zone.members[(behind % members) as usize],
            at: self.skip_bytes + (zone.row + behind / members) * self.extent_bytes + within,
            bytes: bytes.min(self.extent_bytes - within),
        }
    }

    /// All pieces of what begins at byte `at` and is `bytes` long, in their order.
    pub fn pieces(&self, mut at: u64, mut bytes: u64) -> impl Iterator<Item = Piece> + '_ {
        std::iter::from_fn(move || {
            let piece = (bytes > 0).then(|| self.piece(at, bytes))?;
            (at, bytes) = (at + piece.bytes, bytes - piece.bytes);
            Some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_go_over_the_members_in_turn_and_the_rest_over_the_larger_ones() {
        // Of 3, 5 and 2 extents, the last but for a byte.
        let layout = Layout::new(&[38, 58, 37], 8, 10);
        assert_eq!(layout.bytes(), 100);
        let places: Vec<_> = (0..10).map(|extent| layout.piece(extent * 10, 10)).collect();
        let expected =
            [(0, 8), (1, 8), (2, 8), (0, 18), (1, 18), (2, 18), (0, 28), (1, 28), (1, 38), (1, 48)];
        let expected = expected.map(|(member, at)| Piece { member, at, bytes: 10 });
        assert_eq!(places, expected);
    }

    #[test]
    fn every_byte_has_a_place_of_its_own_and_pieces_are_the_range() {
        for sizes in [&[64, 64][..], &[33, 90, 47], &[8, 50], &[12]] {
            let layout = Layout::new(sizes, 8, 4);
            let mut places = std::collections::BTreeSet::new();
            for at in 0..layout.bytes() {
                let Piece { member, at: there, bytes } = layout.piece(at, 1);
                assert!(bytes == 1 && there >= 8 && there < sizes[member], "{sizes:?}: {at}");
                assert!(places.insert((member, there)), "{sizes:?}: {at}");
            }
            for (at, bytes) in [(0, layout.bytes()), (3, 2), (5, 0), (2, 9)] {
                let bytes = bytes.min(layout.bytes() - at.min(layout.bytes()));
                let pieces: Vec<_> = layout.pieces(at, bytes).collect();
                assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u64>(), bytes);
                let bytes =
                    pieces.iter().flat_map(|piece| (0..piece.bytes).map(|n| (piece.member, piece.at + n)));
                for (number, place) in (at..).zip(bytes) {
                    let one = layout.piece(number, 1);
                    assert_eq!((one.member, one.at), place, "{sizes:?}: {number}");
                }
            }
        }
        assert_eq!(Layout::new(&[8, 3], 8, 4).bytes(), 0);
    }
}
