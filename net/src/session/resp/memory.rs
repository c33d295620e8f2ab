//! MEMORY: what keys and the server take.

use super::call::{Call, part};
use super::client::Client;
use super::error::Error;
use super::local::{LocalCall, Subcommand};
use super::reply_kind::{Fact, Kind};
use crate::session::part::{Part, Work};
use torc_engine::command::{Command, Op, Read};
use torc_proto::resp::compose;

/// What an item takes beside its key and its value, on average, bytes.
pub(super) const ITEM_OVERHEAD: u64 = 34;

/// MEMORY USAGE, which looks at a key.
pub(super) fn parts<'a>(call: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<bool, Error> {
    if !call.argument(1).eq_ignore_ascii_case(b"USAGE") {
        return Ok(false);
    }
    for index in (3..call.len()).step_by(2) {
        if !call.argument(index).eq_ignore_ascii_case(b"SAMPLES") || index + 1 == call.len() {
            return Err(Error::Syntax);
        }
        if call.integer(index + 1)? < 0 {
            return Err(Error::Syntax);
        }
    }
    let key = call.key(2)?;
    let op = Op::Read(Read::LOOK);
    // The answer counts the key, too.
    parts.push(part(Work::Keyed(Command { database: 0, key, op }), Kind::Object(Fact::Usage), key));
    Ok(true)
}

pub(super) fn memory(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(MEMORY, out) {
        run(client, call, out);
    }
}

const MEMORY: &[Subcommand] = &[
    Subcommand { name: "doctor", run: doctor },
    Subcommand {
        name: "malloc-stats",
        run: |client, _, out| {
            compose::verbatim(out, "Stats not supported for the current allocator", client.version);
        },
    },
    Subcommand { name: "purge", run: |_, _, out| compose::simple(out, "OK") },
    Subcommand { name: "stats", run: stats },
];

fn stats(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let figure = |name| call.figure(name);
    let (keys, data) = (figure("keys"), figure("bytes_live"));
    let used = figure("memory_used_bytes");
    let rows = [
        ("total.allocated", used),
        ("clients.normal", figure("client_bytes")),
        ("overhead.index", figure("bytes_index")),
        ("overhead.total", used.saturating_sub(data)),
        ("keys.count", keys),
        ("keys.bytes-per-key", data.checked_div(keys).unwrap_or(0)),
        ("dataset.bytes", data),
    ];
    compose::map(out, rows.len() + 1, client.version);
    for (name, number) in rows {
        compose::bulk(out, name.as_bytes());
        compose::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
    }
    compose::bulk(out, b"dataset.percentage");
    compose::double(out, data as f64 * 100.0 / used.max(1) as f64, client.version);
}

/// Share of the memory, in percent, from which on something may have to be evicted for whatever comes.
const FULL_PERCENT: u64 = 95;

fn doctor(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let (used, most) = (call.figure("memory_used_bytes"), call.figure("memory_max_bytes"));
    let percent = used.saturating_mul(100) / most.max(1);
    let text = match percent >= FULL_PERCENT {
        true => format!("{percent} % of --memory is in use: what is used least is evicted for what comes.\n"),
        false => format!("{percent} % of --memory is in use: nothing has to be evicted.\n"),
    };
    compose::verbatim(out, &text, client.version);
}
