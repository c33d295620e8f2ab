//! `torc cli bigkeys`: walks over all keys of all databases, and shows those that take most memory.

use super::print::quoted;
use super::resp::Resp;
use crate::exit::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use torc_proto::resp::reply::Reply;

/// Lines without a number, and most with one.
pub(super) const SHOWN: usize = 16;
pub(super) const SHOWN_MAX: usize = 10_000;
/// Keys that are asked for together.
const STEP: &[u8] = b"500";

/// The keys that take most memory: the least on top, so that it is the first to go.
struct Biggest {
    keys: BinaryHeap<Reverse<(u64, String, Vec<u8>)>>,
    count: usize,
    seen: u64,
    bytes: u64,
}

impl Biggest {
    fn add(&mut self, bytes: u64, database: &str, key: Vec<u8>) {
        (self.seen, self.bytes) = (self.seen + 1, self.bytes + bytes);
        if self.keys.len() == self.count && self.keys.peek().is_some_and(|Reverse(least)| least.0 >= bytes) {
            return;
        }
        self.keys.push(Reverse((bytes, database.to_owned(), key)));
        if self.keys.len() > self.count {
            self.keys.pop();
        }
    }

    fn lines(self) -> String {
        let mut text = String::new();
        for Reverse((bytes, database, key)) in self.keys.into_sorted_vec() {
            let database = if database == "0" { String::new() } else { format!(" in database {database}") };
            text.push_str(&format!("{bytes:>12} {}{database}\n", quoted(&key)));
        }
        text + &format!("{} keys of {} bytes were seen\n", self.seen, self.bytes)
    }
}

/// Walks over all keys, which takes the server a short step at a time. Keys that are stored or moved meanwhile may be missed.
pub(super) fn find(server: &mut Resp, count: usize) -> Result<String, Failure> {
    let databases = databases(server)?;
    let bar = ProgressBar::new(databases.iter().map(|(_, keys)| keys).sum());
    if let Ok(style) = ProgressStyle::with_template("{pos} of {len} keys {wide_bar}") {
        bar.set_style(style);
    }
    let mut biggest = Biggest { keys: BinaryHeap::new(), count, seen: 0, bytes: 0 };
    for (database, _) in &databases {
        one(server, &[b"SELECT", database.as_bytes()])?;
        let mut cursor = b"0".to_vec();
        loop {
            let Reply::Array(mut parts) = one(server, &[b"SCAN", &cursor, b"COUNT", STEP])? else {
                return Err(not_understood("SCAN"));
            };
            let (Some(Reply::Array(keys)), Some(Reply::Bulk(next))) = (parts.pop(), parts.pop()) else {
                return Err(not_understood("SCAN"));
            };
            let keys: Vec<Vec<u8>> = keys.into_iter().filter_map(bulk).collect();
            let requests = keys.iter().map(|key| [&b"MEMORY"[..], b"USAGE", key]);
            for (reply, key) in server.ask_all(requests)?.into_iter().zip(&keys) {
                // Nothing: the key is gone.
                if let Reply::Integer(bytes) = reply {
                    biggest.add(bytes.unsigned_abs(), database, key.clone());
                }
            }
            bar.set_position(biggest.seen);
            if next == b"0" {
                break;
            }
            cursor = next;
        }
    }
    bar.finish_and_clear();
    Ok(biggest.lines())
}

/// The databases that have keys, each with their number.
fn databases(server: &mut Resp) -> Result<Vec<(String, u64)>, Failure> {
    let Some(info) = bulk(one(server, &[b"INFO", b"keyspace"])?) else {
        return Err(not_understood("INFO"));
    };
    let info = String::from_utf8_lossy(&info).into_owned();
    let database = |line: &str| {
        let (name, figures) = line.strip_prefix("db")?.split_once(":keys=")?;
        Some((name.to_owned(), figures.split(',').next()?.trim().parse().ok()?))
    };
    Ok(info.lines().filter_map(database).collect())
}

fn bulk(reply: Reply) -> Option<Vec<u8>> {
    if let Reply::Bulk(bytes) = reply { Some(bytes) } else { None }
}

fn one(server: &mut Resp, words: &[&[u8]]) -> Result<Reply, Failure> {
    match server.ask_all(std::iter::once(words))?.pop() {
        Some(Reply::Error(text)) => Err(Failure::Failed(String::from_utf8_lossy(&text).into_owned())),
        Some(reply) => Ok(reply),
        None => Err(not_understood("nothing")),
    }
}

fn not_understood(what: &str) -> Failure {
    Failure::Failed(format!("the server answers {what} in another way than Redis does"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_biggest_are_kept_and_all_are_counted() {
        let mut biggest = Biggest { keys: BinaryHeap::new(), count: 2, seen: 0, bytes: 0 };
        for (bytes, database, key) in
            [(5, "0", "e"), (9, "3", "i"), (1, "0", "a"), (7, "0", "g"), (7, "0", "h")]
        {
            biggest.add(bytes, database, key.into());
        }
        assert_eq!(
            biggest.lines(),
            "           9 \"i\" in database 3\n           7 \"g\"\n5 keys of 29 bytes were seen\n"
        );
    }
}
