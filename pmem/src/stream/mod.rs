//! A stream: one shard's part of a medium, an append-only ring of batches.
//!
//! The numbers of the steps are those of `docs/format.md`, "How a batch is written".

mod ends;
mod journal;
mod pack;
mod reader;
mod writer;

pub(crate) use ends::Ends;
pub use ends::{Moment, Overwrites};
pub use journal::Journal;
pub use pack::Unfit;
pub use reader::{Ask, KeptPage, Miss, Page, Reader};
pub use writer::{Figures, Oldest, StreamWriter, WriteError};
