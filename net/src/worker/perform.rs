//! A command is done on this shard.

use super::notices::Notices;
use super::outcomes::{Lookup, Outcomes};
use crate::metrics::{CommandClass, OutcomeClass, WorkerStats};
use crate::session::{Answer, Once};
use torc_engine::Shard;
use torc_engine::command::{Body, Command, Millis, Op, Outcome, Ticket, Write};

/// Executes a command on the shard, once if it is a numbered change.
///
/// # Errors
/// The ticket of an item that is not in DRAM. Nothing was done, nor recorded: when the item has been fetched, the command begins
/// again.
#[inline]
pub(super) fn perform<'s>(
    shard: &'s mut Shard,
    (outcomes, notices): (&mut Outcomes, &mut Notices),
    stats: &WorkerStats,
    command: &Command<'_>,
    hash: u64,
    once: Option<Once>,
    now: Millis,
) -> Result<Answer<'s>, Ticket> {
    let outcome = match once {
        None => execute(shard, notices, command, hash, now),
        Some(once) => match outcomes.lookup(once) {
            Lookup::New => {
                let outcome = execute(shard, notices, command, hash, now);
                outcomes.record(once, &outcome);
                stats.outcomes_bytes.set(outcomes.bytes() as u64);
                outcome
            }
            Lookup::Repeat(stored) => {
                drop_upload(shard, command);
                stored.outcome()
            }
            Lookup::Unknown => {
                drop_upload(shard, command);
                return Ok(Answer::OutcomeUnknown);
            }
        },
    };
    if let Outcome::Pending(ticket) = outcome {
        return Err(ticket);
    }
    stats.request(CommandClass::of(&command.op), OutcomeClass::of(&outcome));
    Ok(Answer::Outcome(outcome))
}

#[inline]
fn execute<'s>(
    shard: &'s mut Shard,
    notices: &mut Notices,
    command: &Command<'_>,
    hash: u64,
    now: Millis,
) -> Outcome<'s> {
    if notices.are_off() {
        return shard.execute(command, hash, now);
    }
    notices.execute(shard, command, hash, now)
}

/// A long value that came again for a change that is not done again.
#[cold]
fn drop_upload(shard: &mut Shard, command: &Command<'_>) {
    if let Op::Write(Write { value: Body::Upload(id), .. }) | Op::SetRange { value: Body::Upload(id), .. } =
        command.op
    {
        shard.upload_abort(id);
    }
}
