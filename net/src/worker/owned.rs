//! Requests and answers that own their bytes: to wait in a connection's queue, to travel to another shard.
//!
//! The plain data of a command or an outcome is kept with empty slices in it; its bytes lie one behind the
//! other in a buffer. [`fill_command`] and [`OwnedAnswer::answer`] put slices of the buffer back.

mod answer;
mod kept;
mod op;
mod part;

pub(crate) use answer::OwnedAnswer;
#[cfg(test)]
pub(crate) use answer::OwnedOutcome;
pub(crate) use kept::Kept;
pub(crate) use op::{Options, fill_command, op_value, strip_op};
pub(crate) use part::OwnedPart;
