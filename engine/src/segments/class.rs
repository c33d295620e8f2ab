//! Write classes: items that will end at about the same time lie together.

use crate::meta::Millis;

/// Write class of items that never expire.
pub const CLASS_NEVER: u8 = 0;
/// Write class of chunks.
pub const CLASS_CHUNK: u8 = 9;
/// Number of write classes.
pub const CLASSES: usize = 10;

/// The write class of an item: by its time to live, in steps of four from 15 s.
pub fn class_of(expiry: Option<Millis>, now: Millis) -> u8 {
    let Some(expiry) = expiry else { return CLASS_NEVER };
    let units = expiry.saturating_sub(now) / 15_000;
    let steps = (u64::BITS - units.leading_zeros()).div_ceil(2) as u8;
    (1 + steps).min(CLASS_CHUNK - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_rise_with_the_time_to_live() {
        assert_eq!(class_of(None, 0), CLASS_NEVER);
        let classes: Vec<u8> = [1, 15_000, 59_999, 60_000, 240_000, 960_000, 3_840_000, 86_400_000, u64::MAX]
            .map(|ttl| class_of(Some(ttl), 0))
            .into();
        assert!(classes.is_sorted(), "{classes:?}");
        assert_eq!(classes[0], 1);
        assert_eq!(*classes.last().unwrap(), CLASS_CHUNK - 1);
    }
}
