//! What a request asks for of durability.

/// When a change is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// As `--durability` says.
    #[default]
    AsSet,
    /// When it is safe.
    Durable,
    /// When it is done in memory.
    AtOnce,
}
