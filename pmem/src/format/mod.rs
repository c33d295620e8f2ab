//! The bytes of a tier, as `docs/format.md` draws them. Nothing here touches a medium.

pub mod batch;
pub mod checkpoint;
mod fields;
pub mod geometry;
pub mod label;
pub mod page;
pub mod record;
pub mod spaces;
pub mod superblock;

pub use fields::checksum;

/// What positions and lengths on a medium count, bytes.
pub const UNIT_BYTES: usize = 64;

/// Units of a block.
pub const BLOCK_UNITS: u64 = (crate::media::BLOCK_BYTES / UNIT_BYTES) as u64;
