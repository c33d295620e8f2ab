//! COMMAND and TIME: what the server says of its commands, and its clock.

use super::client::Client;
use super::error::Error;
use super::errors;
use super::errors::PATTERN_STEPS_MAX;
use super::facts;
use super::local::{LocalCall, Subcommand};
use super::row::{Row, Run};
use super::scripting;
use super::subcommands::subcommands;
use super::table::{ROWS, lookup};
use torc_proto::resp::compose;
use torc_proto::resp::glob;

pub(super) fn time(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let now = call.context.now;
    compose::array(out, 2);
    for number in [now / 1000, now % 1000 * 1000] {
        compose::bulk(out, itoa::Buffer::new().format(number).as_bytes());
    }
}

pub(super) fn command(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if call.words.len() == 1 {
        compose::array(out, ROWS.len());
        return ROWS.iter().for_each(|row| facts::tell(row, client.version, out));
    }
    if let Some(run) = call.subcommand(COMMAND, out) {
        run(client, call, out);
    }
}

const COMMAND: &[Subcommand] = &[
    Subcommand { name: "count", run: |_, _, out| compose::integer(out, ROWS.len() as i64) },
    Subcommand { name: "info", run: info },
    Subcommand { name: "docs", run: docs },
    Subcommand { name: "list", run: list },
    Subcommand { name: "getkeys", run: keys },
    Subcommand { name: "getkeysandflags", run: keys_and_flags },
];

/// Names that one COMMAND may ask for: an answer is a hundred times as long as a name.
const NAMES_MAX: usize = 1000;

fn info(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let version = client.version;
    if call.words.len() - 2 > NAMES_MAX {
        return errors::write(Error::TooManyNames, &[], out);
    }
    if call.words.len() == 2 {
        compose::array(out, ROWS.len());
        return ROWS.iter().for_each(|row| facts::tell(row, version, out));
    }
    compose::array(out, call.words.len() - 2);
    for name in &call.words[2..] {
        let name = String::from_utf8_lossy(name).to_lowercase();
        let command = name.split('|').next().unwrap_or_default();
        match lookup(command.as_bytes()) {
            Some((_, row)) if command == name => facts::tell(row, version, out),
            Some((_, row)) if subcommands(row.name).contains(&&name[command.len() + 1..]) => {
                facts::tell_subcommand(&name, version, out);
            }
            _ => compose::null(out, version),
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

/// Whether a command or subcommand is listed, by its name; `None` if that takes too many steps.
type Filter = Box<dyn FnMut(&str) -> Option<bool>>;

fn list(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let mut steps = PATTERN_STEPS_MAX;
    let mut filter: Filter = match call.words.len() {
        2 => Box::new(|_| Some(true)),
        5 if call.is(2, "FILTERBY") && call.is(3, "MODULE") => Box::new(|_| Some(false)),
        5 if call.is(2, "FILTERBY") && call.is(3, "ACLCAT") => {
            let category = call.word(4).to_ascii_lowercase();
            Box::new(move |name| {
                let categories = facts::of(name).map(|facts| &facts.categories[..]).unwrap_or_default();
                Some(categories.iter().any(|name| name.as_bytes() == category))
            })
        }
        5 if call.is(2, "FILTERBY") && call.is(3, "PATTERN") => {
            let pattern = call.word(4).to_ascii_lowercase();
            Box::new(move |name| glob::matches(&pattern, name.as_bytes(), &mut steps))
        }
        _ => return compose::error(out, b"ERR syntax error"),
    };
    let mut names = all_names();
    let Some(matched) = names.iter().map(|name| filter(name)).collect::<Option<Vec<bool>>>() else {
        return errors::write(Error::PatternTooLong, &[], out);
    };
    let mut matched = matched.into_iter();
    names.retain(|_| matched.next() == Some(true));
    compose::set(out, names.len(), client.version);
    names.iter().for_each(|name| compose::bulk(out, name.as_bytes()));
}

/// Names of all commands, each before those of its subcommands.
fn all_names() -> Vec<String> {
    let with_subcommands = |row: &Row| {
        let subcommands = subcommands(row.name).iter().map(|name| format!("{}|{name}", row.name));
        std::iter::once(row.name.to_owned()).chain(subcommands).collect::<Vec<_>>()
    };
    ROWS.iter().flat_map(with_subcommands).collect()
}

fn keys(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    tell_keys(client, call, false, out);
}

fn keys_and_flags(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    tell_keys(client, call, true, out);
}

fn tell_keys(client: &Client, call: &LocalCall<'_>, with_flags: bool, out: &mut Vec<u8>) {
    let asked = call.words.get(2..).unwrap_or_default();
    let Some(row) = asked.first().and_then(|name| lookup(name)).map(|(_, row)| row) else {
        return compose::error(out, b"ERR Invalid command specified");
    };
    let name = match (subcommands(row.name), asked.get(1)) {
        ([_, ..], Some(word)) => format!("{}|{}", row.name, String::from_utf8_lossy(word).to_lowercase()),
        _ => row.name.to_owned(),
    };
    let Some(facts) = facts::of(&name) else {
        return compose::error(out, b"ERR Invalid command specified");
    };
    let is_long_enough = match facts.arity {
        arity @ 0.. => asked.len() as i64 == i64::from(arity),
        arity => asked.len() as i64 >= -i64::from(arity),
    };
    let places: Vec<usize> = match facts.keys.step {
        0 => scripting::keys(row, asked.len(), asked.get(2).map(Vec::as_slice)).collect(),
        _ => facts.keys.of(asked.len()).collect(),
    };
    if facts.keys.step == 0 && !matches!(row.run, Run::Script(_)) {
        return compose::error(out, b"ERR The command has no key arguments");
    }
    if !is_long_enough {
        return compose::error(out, b"ERR Invalid number of arguments specified for command");
    }
    compose::array(out, places.len());
    for (number, index) in places.into_iter().enumerate() {
        if with_flags {
            compose::array(out, 2);
        }
        compose::bulk(out, &asked[index]);
        if with_flags {
            let access = access(row.name, asked, facts.access(number));
            compose::set(out, access.len(), client.version);
            access.iter().for_each(|flag| compose::simple(out, flag));
        }
    }
}

/// How a key is used by a request: what depends on its options is decided.
fn access<'f>(name: &str, asked: &[Vec<u8>], access: &'f [&'static str]) -> &'f [&'static str] {
    match name {
        "set" if !asked[3..].iter().any(|word| word.eq_ignore_ascii_case(b"GET")) => &["OW", "update"],
        "bitfield" if only_reads(&asked[2..]) => &["RO", "access"],
        "set" | "bitfield" => &["RW", "access", "update"],
        _ => access,
    }
}

/// Whether all steps of a BITFIELD are GETs, as far as they can be read.
fn only_reads(mut steps: &[Vec<u8>]) -> bool {
    while let Some((step, rest)) = steps.split_first() {
        let words = match () {
            () if step.eq_ignore_ascii_case(b"GET") => 2,
            () if step.eq_ignore_ascii_case(b"OVERFLOW") => 1,
            () => return false,
        };
        let Some(rest) = rest.get(words..) else { return false };
        steps = rest;
    }
    true
}
