//! The words of two processes; `tests/sleep_orders.rs` compiles the files that use them with loom's.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
