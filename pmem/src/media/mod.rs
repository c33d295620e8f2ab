//! One file a medium.

pub mod memory;
