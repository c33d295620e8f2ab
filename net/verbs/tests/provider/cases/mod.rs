//! The list. Each case is a function of a world.

pub(crate) mod devices;
pub(crate) mod failures;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod notices;
