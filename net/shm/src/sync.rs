//! The words of two processes; `tests/sleep_orders.rs` compiles the files that use them with loom's.

#[cfg(feature = "steps")]
pub(crate) use crate::steps::{AtomicU64, Ordering, fence};
#[cfg(not(feature = "steps"))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
