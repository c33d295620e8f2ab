//! SLOWLOG, LATENCY and others that look at how the server does: what is not kept is told as empty.
//!
//! No command is timed by itself: turns and requests are, for all of a shard, in `/metrics`.

use super::client::Client;
use super::local::{LocalCall, Subcommand};
use torc_proto::resp::{compose, parse_i64};

pub(super) fn slow_log(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(SLOWLOG, out) {
        run(client, call, out);
    }
}

const SLOWLOG: &[Subcommand] = &[
    Subcommand { name: "get", arity: -2, run: slowest },
    Subcommand { name: "len", arity: 2, run: |_, _, out| compose::integer(out, 0) },
    Subcommand { name: "reset", arity: 2, run: |_, _, out| compose::simple(out, "OK") },
];

fn slowest(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let wrong = call.words.len() > 3
        || (call.words.len() == 3 && parse_i64(call.word(2)).is_none_or(|count| count < -1));
    match wrong {
        true => compose::error(out, b"ERR count should be greater than or equal to -1"),
        false => compose::array(out, 0),
    }
}

pub(super) fn latency(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(LATENCY, out) {
        run(client, call, out);
    }
}

const LATENCY: &[Subcommand] = &[
    Subcommand { name: "latest", arity: 2, run: |_, _, out| compose::array(out, 0) },
    Subcommand { name: "history", arity: 3, run: |_, _, out| compose::array(out, 0) },
    Subcommand { name: "reset", arity: -2, run: |_, _, out| compose::integer(out, 0) },
    Subcommand { name: "histogram", arity: -2, run: |client, _, out| compose::map(out, 0, client.version) },
    Subcommand { name: "graph", arity: 3, run: graph },
    Subcommand { name: "doctor", arity: 2, run: doctor },
];

fn graph(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let event = super::errors::repeated(call.word(2));
    compose::error(out, &[b"ERR No samples available for event '", event, b"'"].concat());
}

fn doctor(client: &mut Client, _: &LocalCall<'_>, out: &mut Vec<u8>) {
    let text = "Events are not sampled here: /metrics has how long turns and requests take (--admin).\n";
    compose::verbatim(out, text, client.version);
}

/// There are no replicas.
pub(super) fn wait(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    match (parse_i64(call.word(1)), parse_i64(call.word(2))) {
        (None, _) => compose::error(out, b"ERR value is not an integer or out of range"),
        (_, None) => compose::error(out, b"ERR timeout is not an integer or out of range"),
        (_, Some(..0)) => compose::error(out, b"ERR timeout is negative"),
        _ => compose::integer(out, 0),
    }
}

pub(super) fn role(_: &mut Client, _: &LocalCall<'_>, out: &mut Vec<u8>) {
    compose::array(out, 3);
    compose::bulk(out, b"master");
    compose::integer(out, 0);
    compose::array(out, 0);
}

/// Nothing is saved but what a tier has.
pub(super) fn last_save(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let seconds = call.context.server.started_at() / 1000;
    compose::integer(out, i64::try_from(seconds).unwrap_or(i64::MAX));
}

pub(super) fn debug(_: &mut Client, _: &LocalCall<'_>, out: &mut Vec<u8>) {
    compose::error(
        out,
        b"ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
          local connection, otherwise you need to set this option in the configuration file, and then restart the \
          server.",
    );
}
