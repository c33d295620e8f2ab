//! COMMAND and DBSIZE: what the server says of its commands and its keys.

use super::client::Client;
use super::error::Error;
use super::errors;
use super::errors::PATTERN_STEPS_MAX;
use super::local::{LocalCall, Subcommand};
use super::row::{Class, Row};
use super::table::{ROWS, lookup};
use torc_proto::resp::compose::{self, Version};
use torc_proto::resp::glob;

pub(super) fn dbsize(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let figures = call.database(client.database);
    let keys = figures.items + figures.only;
    compose::integer(out, i64::try_from(keys).unwrap_or(i64::MAX));
}

pub(super) fn command(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if call.words.len() == 1 {
        compose::array(out, ROWS.len());
        return ROWS.iter().for_each(|row| describe(row, client.version, out));
    }
    if let Some(run) = call.subcommand(COMMAND, out) {
        run(client, call, out);
    }
}

const COMMAND: &[Subcommand] = &[
    Subcommand { name: "count", arity: 2, run: |_, _, out| compose::integer(out, ROWS.len() as i64) },
    Subcommand { name: "info", arity: -2, run: info },
    Subcommand { name: "docs", arity: -2, run: docs },
    Subcommand { name: "list", arity: -2, run: list },
    Subcommand { name: "getkeys", arity: -4, run: keys },
];

fn describe(row: &Row, version: Version, out: &mut Vec<u8>) {
    compose::array(out, 10);
    compose::bulk(out, row.name.as_bytes());
    compose::integer(out, row.arity.into());
    compose::set(out, row.flags.len(), version);
    row.flags.iter().for_each(|flag| compose::simple(out, flag));
    for position in [row.keys.first, row.keys.last, row.keys.step] {
        compose::integer(out, position.into());
    }
    let categories = categories(row);
    compose::set(out, categories.len(), version);
    categories.iter().for_each(|category| compose::simple(out, category));
    // Tips, key specifications and subcommands: the positions above say all there is.
    (0..3).for_each(|_| compose::array(out, 0));
}

/// The ACL categories, as Redis would put the command.
fn categories(row: &Row) -> Vec<&'static str> {
    let mut categories = match row.class {
        Class::Read => vec!["@read"],
        Class::Write => vec!["@write"],
        Class::Connection => vec!["@connection"],
        Class::Messages => vec!["@pubsub"],
        Class::Server => vec![],
        Class::Dangerous => vec!["@keyspace", "@write", "@dangerous"],
    };
    match row.group {
        "string" => categories.push("@string"),
        "generic" => categories.push("@keyspace"),
        _ => {}
    }
    categories.push(if row.flags.contains(&"fast") { "@fast" } else { "@slow" });
    categories
}

/// Names that one COMMAND may ask for: an answer is a hundred times as long as a name.
const NAMES_MAX: usize = 1000;

fn info(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let version = client.version;
    if call.words.len() - 2 > NAMES_MAX {
        return errors::write(Error::TooManyNames, &[], out);
    }
    if call.words.len() == 2 {
        compose::array(out, ROWS.len());
        return ROWS.iter().for_each(|row| describe(row, version, out));
    }
    compose::array(out, call.words.len() - 2);
    for name in &call.words[2..] {
        match lookup(name) {
            Some((_, row)) => describe(row, version, out),
            None => compose::null(out, version),
        }
    }
}

fn docs(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if call.words.len() - 2 > NAMES_MAX {
        return errors::write(Error::TooManyNames, &[], out);
    }
    let rows: Vec<&Row> = match call.words.get(2..) {
        Some(names @ [_, ..]) => names.iter().filter_map(|name| lookup(name)).map(|(_, row)| row).collect(),
        _ => ROWS.iter().collect(),
    };
    compose::map(out, rows.len(), client.version);
    for row in rows {
        compose::bulk(out, row.name.as_bytes());
        compose::map(out, 3, client.version);
        for (name, value) in [("summary", row.summary), ("since", row.since), ("group", row.group)] {
            compose::bulk(out, name.as_bytes());
            compose::bulk(out, value.as_bytes());
        }
    }
}

/// Whether a row is listed; `None` if that takes too many steps.
type Filter = Box<dyn FnMut(&Row) -> Option<bool>>;

fn list(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let mut steps = PATTERN_STEPS_MAX;
    let filter: Filter = match call.words.len() {
        2 => Box::new(|_| Some(true)),
        5 if call.is(2, "FILTERBY") && call.is(3, "MODULE") => Box::new(|_| Some(false)),
        5 if call.is(2, "FILTERBY") && call.is(3, "ACLCAT") => {
            let category = [b"@", call.word(4)].concat();
            Box::new(move |row| {
                Some(categories(row).iter().any(|name| name.as_bytes().eq_ignore_ascii_case(&category)))
            })
        }
        5 if call.is(2, "FILTERBY") && call.is(3, "PATTERN") => {
            let pattern = call.word(4).to_ascii_lowercase();
            Box::new(move |row| glob::matches(&pattern, row.name.as_bytes(), &mut steps))
        }
        _ => return compose::error(out, b"ERR syntax error"),
    };
    let Some(matched) = ROWS.iter().map(filter).collect::<Option<Vec<bool>>>() else {
        return errors::write(Error::PatternTooLong, &[], out);
    };
    let rows: Vec<&Row> =
        ROWS.iter().zip(matched).filter(|(_, matched)| *matched).map(|(row, _)| row).collect();
    compose::set(out, rows.len(), client.version);
    rows.iter().for_each(|row| compose::bulk(out, row.name.as_bytes()));
}

fn keys(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let asked = call.words.get(2..).unwrap_or_default();
    let Some((_, row)) = asked.first().and_then(|name| lookup(name)) else {
        return compose::error(out, b"ERR Invalid command specified");
    };
    if row.keys.step == 0 {
        return compose::error(out, b"ERR The command has no key arguments");
    }
    if !row.takes(asked.len()) {
        return compose::error(out, b"ERR Invalid number of arguments specified for command");
    }
    compose::array(out, row.keys.of(asked.len()).count());
    row.keys.of(asked.len()).for_each(|index| compose::bulk(out, &asked[index]));
}
