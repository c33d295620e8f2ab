//! HOTKEYS: the keys that are asked for most, by a sample of all requests.

use super::client::Client;
use super::local::{LocalCall, Subcommand};
use crate::observed::SAMPLE;
use torc_proto::resp::{compose, parse_i64};

pub(super) fn hot_keys(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(HOTKEYS, out) {
        run(client, call, out);
    }
}

const HOTKEYS: &[Subcommand] = &[Subcommand { name: "get", run: get }];

/// Keys that are told without a number.
const KEYS: i64 = 16;

fn get(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let count = match call.words.len() {
        2 => Some(KEYS),
        4 if call.is(2, "COUNT") => parse_i64(call.word(3)).filter(|count| *count > 0),
        _ => return compose::error(out, b"ERR syntax error"),
    };
    let Some(count) = count else { return compose::error(out, b"ERR COUNT must be > 0") };
    let (mut keys, total) =
        call.context.server.observed().map(|observed| observed.hot_keys()).unwrap_or_default();
    keys.retain(|hot| hot.database == client.database);
    keys.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    compose::map(out, 4, client.version);
    for (name, number) in
        [("tracking-active", 1), ("sample-ratio", SAMPLE.into()), ("sampled-requests", total)]
    {
        compose::bulk(out, name.as_bytes());
        compose::integer(out, number as i64);
    }
    compose::bulk(out, b"by-requests");
    compose::array(out, 2 * keys.len());
    for hot in keys {
        compose::bulk(out, &hot.key);
        compose::integer(out, hot.count as i64);
    }
}
