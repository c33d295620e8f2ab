//! The numbers by which commands and subcommands are counted.

use super::facts;
use super::reply_kind::ReplyKind;
use super::row;
use super::subcommands::SUBCOMMANDS;
use super::table::NAMES;
use crate::session::calls::{COMMANDS, NO_COMMAND};
use std::sync::LazyLock;

/// Of each row of the table the number of its first subcommand, and all of these.
static OF_ROWS: [(usize, &[&str]); NAMES.len()] = {
    let mut rows: [(usize, &[&str]); NAMES.len()] = [(0, &[]); NAMES.len()];
    let (mut at, mut number) = (0, NAMES.len());
    while at < SUBCOMMANDS.len() {
        let (command, names) = SUBCOMMANDS[at];
        let mut row = 0;
        while !is_same(NAMES[row], command) {
            row += 1;
        }
        rows[row] = (number, names);
        number += names.len();
        at += 1;
    }
    rows
};

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// By what number a request is counted whose second word is `word`: that of the command in this row of the table, or of its
/// subcommand. One that nobody knows is not counted. All numbers are below [`NO_COMMAND`].
pub(super) fn number_of(row: usize, word: &[u8]) -> u8 {
    let (first, names) = OF_ROWS[row];
    if names.is_empty() {
        return row as u8;
    }
    let place = names.iter().position(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    place.map_or(NO_COMMAND, |place| (first + place) as u8)
}

/// Whether the command or subcommand of this number takes so many arguments, its names among them. Of commands their rows say it.
pub(super) fn takes(number: u8, count: usize) -> bool {
    static ARITIES: LazyLock<Vec<i32>> = LazyLock::new(|| {
        let all = (NAMES.len()..COMMANDS).map(|number| facts::of(command_name(number)));
        all.map(|facts| facts.map_or(-1, |facts| facts.arity)).collect()
    });
    let place = usize::from(number).checked_sub(NAMES.len());
    place.and_then(|place| ARITIES.get(place)).is_none_or(|arity| row::takes(*arity, count))
}

/// The name of what is counted by this number: `get`, `config|get`.
pub(crate) fn command_name(number: usize) -> &'static str {
    static OF_SUBCOMMANDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let all =
            SUBCOMMANDS.iter().flat_map(|(command, names)| names.iter().map(move |name| (command, name)));
        all.map(|(command, name)| format!("{command}|{name}")).collect()
    });
    let behind = number.saturating_sub(NAMES.len());
    match NAMES.get(number) {
        Some(name) => name,
        None => OF_SUBCOMMANDS.get(behind).map(String::as_str).unwrap_or_default(),
    }
}

impl ReplyKind {
    /// The command, or the commonest one that is answered so.
    pub(in crate::session) fn verb(&self) -> &'static str {
        let named = Some(usize::from(self.command)).filter(|command| *command < COMMANDS);
        named.map_or_else(|| self.kind.verb(), command_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::resp::subcommands::subcommands;

    #[test]
    fn each_number_has_the_name_of_what_is_counted_by_it() {
        for (row, name) in NAMES.iter().enumerate() {
            let names = subcommands(name);
            assert_eq!(command_name(row), *name);
            assert_eq!(usize::from(number_of(row, b"no such")), if names.is_empty() { row } else { 255 });
            for subcommand in names {
                let number = number_of(row, subcommand.to_uppercase().as_bytes());
                assert_eq!(command_name(usize::from(number)), format!("{name}|{subcommand}"));
            }
        }
        assert_ne!(command_name(COMMANDS - 1), "");
        assert_eq!(command_name(COMMANDS), "");
    }
}
