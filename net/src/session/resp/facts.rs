//! What COMMAND tells of commands beside their rows: categories, tips, how keys are used, subcommands.
//!
//! Clients choose by them where a command goes, and rules about users go by them. They are Redis' own, kept as text
//! (`facts.txt`) and read when somebody first asks.

use super::error::Error;
use super::row::{Keys, Row, takes};
use super::subcommands::subcommands;
use std::sync::LazyLock;
use torc_proto::resp::compose::{self, Version};

/// The facts of one command or subcommand.
#[derive(Debug)]
pub(super) struct Facts {
    /// Of a subcommand `command|subcommand`.
    pub(super) name: &'static str,
    pub(super) arity: i32,
    pub(super) flags: Vec<&'static str>,
    pub(super) keys: Keys,
    pub(super) categories: Vec<&'static str>,
    tips: Vec<&'static str>,
    /// How keys are used, by key specification.
    pub(super) accesses: Vec<Vec<&'static str>>,
}

static FACTS: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    let lines = include_str!("facts.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(Facts::read).collect()
});

/// Whether a word names a subcommand, if the command has any, and takes so many arguments with both names.
pub(super) fn check_subcommand(command: &str, word: &[u8], count: usize) -> Result<(), Error> {
    let names = subcommands(command);
    if names.is_empty() {
        return Ok(());
    }
    let is_it = |name: &&&str| word.eq_ignore_ascii_case(name.as_bytes());
    let name = names.iter().find(is_it).ok_or(Error::UnknownSubcommand)?;
    match of(&format!("{command}|{name}")) {
        Some(facts) if !takes(facts.arity, count) => Err(Error::WrongArguments(facts.name)),
        _ => Ok(()),
    }
}

/// The facts of a command, or of a subcommand as `command|subcommand`.
pub(super) fn of(name: &str) -> Option<&'static Facts> {
    FACTS.iter().find(|facts| facts.name == name)
}

fn list(words: &'static str, between: char) -> Vec<&'static str> {
    if words == "-" { Vec::new() } else { words.split(between).collect() }
}

impl Facts {
    fn read(line: &'static str) -> Option<Facts> {
        let mut words = line.split(' ');
        let (name, arity) = (words.next()?, words.next()?.parse().ok()?);
        let flags = list(words.next()?, ',');
        let mut places = words.next()?.split(',').map(str::parse);
        let mut place = || places.next()?.ok();
        let keys = Keys { first: place()?, last: place()?, step: place()? };
        let (categories, tips) = (list(words.next()?, ','), list(words.next()?, ','));
        let accesses = list(words.next()?, ';').into_iter().map(|access| list(access, ',')).collect();
        Some(Facts { name, arity, flags, keys, categories, tips, accesses })
    }

    /// How the key with this number among the command's keys is used.
    pub(super) fn access(&self, number: usize) -> &[&'static str] {
        let last = self.accesses.len().saturating_sub(1);
        self.accesses.get(number.min(last)).map(Vec::as_slice).unwrap_or_default()
    }

    fn tell(&self, flags: &[&str], version: Version, out: &mut Vec<u8>) {
        compose::array(out, 10);
        compose::bulk(out, self.name.as_bytes());
        compose::integer(out, self.arity.into());
        compose::set(out, flags.len(), version);
        flags.iter().for_each(|flag| compose::simple(out, flag));
        for position in [self.keys.first, self.keys.last, self.keys.step] {
            compose::integer(out, position.into());
        }
        compose::set(out, self.categories.len(), version);
        self.categories.iter().for_each(|category| compose::simple(out, &format!("@{category}")));
        compose::array(out, self.tips.len());
        self.tips.iter().for_each(|tip| compose::bulk(out, tip.as_bytes()));
        compose::array(out, self.accesses.len());
        (0..self.accesses.len()).for_each(|number| self.tell_keys(number, version, out));
        let subcommands = subcommands(self.name);
        compose::array(out, subcommands.len());
        for subcommand in subcommands {
            match of(&format!("{}|{subcommand}", self.name)) {
                Some(facts) => facts.tell(&facts.flags, version, out),
                None => compose::null(out, version),
            }
        }
    }

    /// A key specification: where it begins, and how far it goes.
    fn tell_keys(&self, number: usize, version: Version, out: &mut Vec<u8>) {
        let bulk = |out: &mut Vec<u8>, text: &str| compose::bulk(out, text.as_bytes());
        let Keys { first, last, step } = self.keys;
        // Several specifications are of one key each.
        let (begin, last) = match self.accesses.len() {
            1 if last >= 0 => (first, last - first),
            1 => (first, last),
            // But for the last one, if the keys go on to the end.
            specifications if number + 1 == specifications && last < 0 => {
                (first + number as i32 * step, last)
            }
            _ => (first + number as i32 * step, 0),
        };
        let is_told = self.flags.contains(&"movablekeys");
        compose::map(out, if is_told { 4 } else { 3 }, version);
        if is_told {
            let access = if self.access(number).contains(&"RW") { "RW and UPDATE" } else { "RO and ACCESS" };
            let worst = "We cannot tell how the keys will be used so we assume the worst";
            bulk(out, "notes");
            bulk(out, &format!("{worst}, {access}"));
        }
        bulk(out, "flags");
        let access = self.access(number);
        compose::set(out, access.len(), version);
        access.iter().for_each(|flag| compose::simple(out, flag));
        bulk(out, "begin_search");
        if is_told {
            // Scripts: how many there are is the second argument.
            search(out, "index", &[("index", 2)], version);
            bulk(out, "find_keys");
            return search(out, "keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)], version);
        }
        search(out, "index", &[("index", begin)], version);
        bulk(out, "find_keys");
        search(out, "range", &[("lastkey", last), ("keystep", step), ("limit", 0)], version);
    }
}

fn search(out: &mut Vec<u8>, kind: &str, spec: &[(&str, i32)], version: Version) {
    compose::map(out, 2, version);
    compose::bulk(out, b"type");
    compose::bulk(out, kind.as_bytes());
    compose::bulk(out, b"spec");
    compose::map(out, spec.len(), version);
    for (name, number) in spec {
        compose::bulk(out, name.as_bytes());
        compose::integer(out, (*number).into());
    }
}

/// What COMMAND INFO tells of a command.
pub(super) fn tell(row: &Row, version: Version, out: &mut Vec<u8>) {
    match of(row.name) {
        Some(facts) => facts.tell(row.flags, version, out),
        None => compose::null(out, version),
    }
}

/// The same of a subcommand, by `command|subcommand`.
pub(super) fn tell_subcommand(name: &str, version: Version, out: &mut Vec<u8>) {
    match of(name) {
        Some(facts) => facts.tell(&facts.flags, version, out),
        None => compose::null(out, version),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::ROWS;
    use super::*;

    #[test]
    fn every_line_is_read_and_every_row_has_one_that_says_the_same() {
        let lines = include_str!("facts.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(FACTS.len(), lines);
        for row in &ROWS {
            let facts = of(row.name).unwrap_or_else(|| panic!("no facts of {}", row.name));
            let flags = |flags: &[&'static str]| {
                let mut flags = flags.to_vec();
                flags.sort_unstable();
                flags
            };
            assert_eq!((row.arity, row.keys), (facts.arity, facts.keys), "{}", row.name);
            assert_eq!(flags(row.flags), flags(&facts.flags), "{}", row.name);
            for subcommand in subcommands(row.name) {
                assert!(of(&format!("{}|{subcommand}", row.name)).is_some(), "{} {subcommand}", row.name);
            }
        }
    }

    #[test]
    fn keys_are_where_the_specifications_say() {
        let told = |name: &str| {
            let mut out = Vec::new();
            tell_subcommand(name, Version::Resp2, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert!(told("mset").contains("$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:2\r\n"));
        assert!(told("rename").contains("+delete\r\n") && told("rename").contains("$5\r\nindex\r\n:2\r\n"));
        assert!(told("object|encoding").contains("$5\r\nindex\r\n:2\r\n"));
        assert_eq!(told("nothing"), "$-1\r\n");
    }
}
