//! SLOWLOG and LATENCY: what was slow.

use super::call::{Call, part};
use super::client::Client;
use super::error::Error;
use super::local::{LocalCall, Subcommand};
use super::reply_kind::{Kind, Position};
use crate::observed::{Event, Occurrence, Sees};
use crate::session::part::{Part, Work};
use torc_proto::resp::{compose, parse_i64};

pub(super) fn slow_log(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(SLOWLOG, out) {
        run(client, call, out);
    }
}

const SLOWLOG: &[Subcommand] = &[
    Subcommand { name: "get", run: slowest },
    Subcommand { name: "len", run: slow_log_len },
    Subcommand { name: "reset", run: clear_slow_log },
];

/// Requests that SLOWLOG GET tells without a number.
const SLOWEST: i64 = 10;

fn slowest(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let count = match call.words.len() {
        2 => Some(SLOWEST),
        3 => parse_i64(call.word(2)).filter(|count| *count >= -1),
        _ => {
            let text = b"ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.";
            return compose::error(out, text);
        }
    };
    let Some(count) = count else {
        return compose::error(out, b"ERR count should be greater than or equal to -1");
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let entries = call.context.server.observed().map(|observed| observed.slowest(count)).unwrap_or_default();
    compose::array(out, entries.len());
    for entry in entries {
        compose::array(out, 6);
        for number in [entry.id, entry.second, entry.us] {
            compose::integer(out, number as i64);
        }
        compose::array(out, entry.words.len());
        entry.words.iter().for_each(|word| compose::bulk(out, word));
        compose::bulk(out, entry.peer.as_bytes());
        compose::bulk(out, &entry.name);
    }
}

fn slow_log_len(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let len = call.context.server.observed().map_or(0, |observed| observed.slow_log_len());
    compose::integer(out, len as i64);
}

fn clear_slow_log(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    call.context.server.observed().into_iter().for_each(|observed| observed.clear_slow_log());
    compose::simple(out, "OK");
}

/// The client is shown what all others ask for.
pub(super) fn monitor<'a>(_: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<(), Error> {
    parts.push(part(Work::Monitor { sees: Some(Sees::Requests) }, Kind::StoredAll(Position::of(0, 1)), &[]));
    Ok(())
}

pub(super) fn latency(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(LATENCY, out) {
        run(client, call, out);
    }
}

const LATENCY: &[Subcommand] = &[
    Subcommand { name: "latest", run: latest },
    Subcommand { name: "history", run: history },
    Subcommand { name: "reset", run: forget },
    Subcommand { name: "histogram", run: histogram },
    Subcommand { name: "graph", run: graph },
    Subcommand { name: "doctor", run: doctor },
];

fn latest(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let latest = call.context.server.observed().map(|observed| observed.latest()).unwrap_or_default();
    compose::array(out, latest.len());
    for (event, figures) in latest {
        compose::array(out, 4);
        compose::bulk(out, event.name().as_bytes());
        for number in [figures.last.second, figures.last.ms, figures.worst_ms] {
            compose::integer(out, number as i64);
        }
    }
}

fn history_of(call: &LocalCall<'_>) -> Vec<Occurrence> {
    let event = Event::by_name(call.word(2));
    let history = event.zip(call.context.server.observed()).map(|(event, observed)| observed.history(event));
    history.unwrap_or_default()
}

fn history(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let history = history_of(call);
    compose::array(out, history.len());
    for Occurrence { second, ms } in history {
        compose::array(out, 2);
        compose::integer(out, second as i64);
        compose::integer(out, ms as i64);
    }
}

fn forget(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let named = |event: &Event| {
        call.words.len() == 2 || call.words[2..].iter().any(|word| word == event.name().as_bytes())
    };
    let forgotten = call.context.server.observed().map_or(0, |observed| {
        Event::ALL.into_iter().filter(named).filter(|event| observed.forget(*event)).count()
    });
    compose::integer(out, forgotten as i64);
}

/// What commands took: the time of the turns that read them.
fn histogram(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let mut times = call.context.server.command_times();
    let asked = &call.words[2..];
    times.retain(|times| {
        let command = times.name.split('|').next().unwrap_or_default();
        let is = |asked: &Vec<u8>| {
            [times.name, command].iter().any(|name| asked.eq_ignore_ascii_case(name.as_bytes()))
        };
        asked.is_empty() || asked.iter().any(is)
    });
    compose::map(out, times.len(), client.version);
    for times in times {
        compose::bulk(out, times.name.as_bytes());
        compose::map(out, 2, client.version);
        compose::bulk(out, b"calls");
        compose::integer(out, times.calls as i64);
        compose::bulk(out, b"histogram_usec");
        let buckets = times.by_microseconds();
        compose::map(out, buckets.len(), client.version);
        for (us, count) in buckets {
            compose::integer(out, us as i64);
            compose::integer(out, count as i64);
        }
    }
}

/// Rows of a graph.
const GRAPH_ROWS: u64 = 4;

fn graph(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let history = history_of(call);
    let (Some(high), Some(low)) =
        (history.iter().map(|moment| moment.ms).max(), history.iter().map(|moment| moment.ms).min())
    else {
        let event = super::errors::repeated(call.word(2));
        return compose::error(out, &[b"ERR No samples available for event '", event, b"'"].concat());
    };
    let event = String::from_utf8_lossy(call.word(2));
    let mut text = format!("{event} - high {high} ms, low {low} ms ({} seconds)\n", history.len());
    text.push_str(&"-".repeat(80));
    text.push('\n');
    for row in (0..GRAPH_ROWS).rev() {
        let height = |moment: &Occurrence| (moment.ms - low) * GRAPH_ROWS / (high - low + 1);
        let mark = |moment: &Occurrence| match height(moment) {
            height if height == row => '#',
            height if height > row => '|',
            _ if row == 0 => '_',
            _ => ' ',
        };
        text.extend(history.iter().map(mark));
        text.push('\n');
    }
    compose::verbatim(out, &text, client.version);
}

fn doctor(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let Some(observed) = call.context.server.observed() else {
        return compose::verbatim(out, "", client.version);
    };
    let mut text = String::new();
    let latest = observed.latest();
    if observed.events_from_ms() == 0 {
        text.push_str(
            "Events are not kept: CONFIG SET latency-monitor-threshold <milliseconds> keeps those that take so long.\n",
        );
    } else if latest.is_empty() {
        let ms = observed.events_from_ms();
        text.push_str(&format!("Nothing has taken {ms} ms or more.\n"));
    }
    for (event, figures) in latest {
        let what = match event {
            Event::Turn => {
                "turns of a shard's loop were slow: everything that came meanwhile waited. Is the CPU taken by others, or the \
                 memory swapped? /metrics has torc_turn_seconds"
            }
            Event::Request => "requests were answered late: SLOWLOG GET tells which",
        };
        let seconds = observed.history(event).len();
        let worst = figures.worst_ms;
        text.push_str(&format!("{}: in {seconds} seconds, {worst} ms at worst: {what}.\n", event.name()));
    }
    compose::verbatim(out, &text, client.version);
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
