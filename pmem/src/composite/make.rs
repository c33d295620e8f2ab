//! Labelling the members of a tier that is made anew.

use super::{Composite, Label, Look, Member, Named, SKIP_BYTES, SetError, look};
use crate::format::label::LABELS;
use crate::format::superblock::SUPERBLOCKS;
use crate::media::layout::Layout;
use crate::media::{BLOCK_BYTES, MediaError, bytes, bytes_mut, zeroed};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// What goes to one member before the next has its turn, bytes: several of the largest batches, as one that goes over an end is
/// written by two calls and drained on two members; and less than the journals of a few shards.
const EXTENT_BYTES: u64 = 4 << 20;
const EXTENT_BYTES_LEAST: u64 = 64 << 10;
/// The smallest member has so many at least, so that little is left at the ends.
const EXTENTS_MIN: u64 = 64;

/// The least size of a member, bytes.
pub const MEMBER_BYTES_MIN: u64 = 1 << 20;

/// How members of these sizes are divided. `None`: one of them has less than [`MEMBER_BYTES_MIN`].
pub fn layout(member_bytes: &[u64]) -> Option<Layout> {
    let smallest = member_bytes.iter().copied().min().filter(|least| *least >= MEMBER_BYTES_MIN)?;
    Some(Layout::new(member_bytes, SKIP_BYTES, extent_bytes(smallest)))
}

/// The size of so many equal members which have room for so many bytes together.
pub fn member_bytes(all_bytes: u64, members: u64) -> u64 {
    let each = all_bytes.div_ceil(members).max(MEMBER_BYTES_MIN);
    each.next_multiple_of(extent_bytes(each)) + SKIP_BYTES
}

fn extent_bytes(smallest: u64) -> u64 {
    let fitting: u64 = 1 << (smallest / EXTENTS_MIN).max(1).ilog2();
    fitting.clamp(EXTENT_BYTES_LEAST, EXTENT_BYTES)
}

impl Composite {
    /// Makes media the members of a new tier, divided as [`layout`] says; what was on them is gone. `set` is a number that no other
    /// has. What a crash meanwhile leaves holds nothing, if they were no members, or those of one tier.
    ///
    /// # Errors
    /// The medium's.
    pub fn make(members: Vec<Named>, set: u64, layout: Layout) -> Result<Composite, MediaError> {
        let extent_bytes = layout.extent_bytes() as u32;
        let composite = Composite::new(members, layout);
        composite.clear()?;
        let members = &composite.members;
        for (member, number) in members.iter().zip(0..) {
            let (of, bytes) = (members.len() as u16, member.medium.bytes());
            let label = Label { set, number, of, extent_bytes, bytes };
            // One after the other: so one is whole if the other is torn.
            (0..LABELS).rev().try_for_each(|copy| member.put(copy * BLOCK, &label.encode()))?;
        }
        Ok(composite)
    }

    /// Takes everything away that says what the members are: the superblocks first, and the label of a first member last. So who
    /// comes between knows that the tier before holds nothing.
    fn clear(&self) -> Result<(), MediaError> {
        let used: Vec<&Member> = self.members.iter().filter(|member| !member.is_blank()).collect();
        for member in &used {
            member.zero(SKIP_BYTES, SUPERBLOCKS)?;
        }
        let (first, others): (Vec<&Member>, Vec<_>) = used.into_iter().partition(|member| member.is_first());
        let mut members = others.into_iter().chain(first);
        // One after the other: so one is whole, or all that is left, if the other is torn.
        members.try_for_each(|member| (0..LABELS).try_for_each(|copy| member.zero(copy * BLOCK, 1)))
    }
}

impl Member {
    /// Whether there are zeros where labels and superblocks lie.
    fn is_blank(&self) -> bool {
        let mut blocks = zeroed((LABELS + SUPERBLOCKS) as usize);
        self.medium.read(0, &mut blocks).is_ok() && bytes(&blocks).iter().all(|byte| *byte == 0)
    }

    fn is_first(&self) -> bool {
        let looked: Result<Look, SetError> = look(&self.name, &*self.medium);
        matches!(looked, Ok(Look::Member { label: Label { number: 0, .. }, .. }))
    }

    fn zero(&self, at: u64, blocks: u64) -> Result<(), MediaError> {
        self.write(at, &zeroed(blocks as usize))?;
        self.drain()
    }

    fn put(&self, at: u64, block: &[u8; BLOCK_BYTES]) -> Result<(), MediaError> {
        let mut out = zeroed(1);
        bytes_mut(&mut out).copy_from_slice(block);
        self.write(at, &out)?;
        self.drain()
    }
}
