//! A stream: one shard's part of a medium, an append-only ring of batches.
//!
//! The numbers of the steps are those of `docs/format.md`, "How a batch is written".

mod pack;
mod reader;
mod writer;

pub use pack::Unfit;
pub(crate) use reader::Ends;
pub use reader::{Miss, Page, Reader};
pub use writer::{Figures, Oldest, StreamWriter, WriteError};
