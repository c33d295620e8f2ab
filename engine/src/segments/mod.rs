//! Segments.
mod lent;
pub use lent::{Chain, Lent};
