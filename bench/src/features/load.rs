//! What is asked: requests that are written once and sent again and again.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;

use super::replies::Replies;
use crate::{codec::resp::push_bulk, workload::Source};

/// A feature that is measured by a load of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Asked {
    /// PUBLISH to a channel that all subscribers have.
    Messages,
    /// A limiter of requests by EVAL.
    Scripts,
    /// MULTI, five SETs and five GETs, EXEC.
    Transactions,
}

/// How many different requests are sent in turn.
const REQUESTS: usize = 10_000;
const KEYS: u32 = 10_000;
/// Commands of a transaction.
const COMMANDS: u32 = 10;
const VALUE: [u8; 64] = [b'v'; 64];
pub(super) const CHANNEL: &[u8] = b"channel";

/// Counts a client's requests in a window of time, and tells how many there were, or 0 beyond a limit.
const LIMITER: &[u8] = b"local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
if count > tonumber(ARGV[2]) then return 0 end
return count";

impl Asked {
    pub(super) fn codec(self) -> Replies {
        Replies { arrays_alone: self == Self::Transactions }
    }

    pub(super) fn requests(self) -> Prepared {
        let mut random = SmallRng::seed_from_u64(1);
        let requests = match self {
            Self::Messages => vec![command(&[b"PUBLISH", CHANNEL, &VALUE])],
            Self::Scripts => {
                let ask = |_| {
                    let key = key("limit", &mut random);
                    command(&[b"EVAL", LIMITER, b"1", &key, b"100000", b"1000000"])
                };
                (0..REQUESTS).map(ask).collect()
            }
            Self::Transactions => (0..REQUESTS).map(|_| transaction(&mut random)).collect(),
        };
        Prepared { requests, next: 0 }
    }
}

/// Each feature has keys of its own, as none could work with the others' values.
fn key(prefix: &str, random: &mut SmallRng) -> Vec<u8> {
    format!("{prefix}:{:08}", random.random_range(0..KEYS)).into_bytes()
}

fn transaction(random: &mut SmallRng) -> Vec<u8> {
    let commands = (0..COMMANDS).map(|number| match number % 2 {
        0 => command(&[b"SET", &key("value", random), &VALUE]),
        _ => command(&[b"GET", &key("value", random)]),
    });
    let commands: Vec<u8> = commands.flatten().collect();
    [command(&[b"MULTI"]), commands, command(&[b"EXEC"])].concat()
}

/// A request as clients send it.
pub(super) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| push_bulk(&mut out, word));
    out
}

/// Requests in turn, without an end.
pub(super) struct Prepared {
    requests: Vec<Vec<u8>>,
    next: usize,
}

impl Source for Prepared {
    fn fill(&mut self, _connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        for _ in 0..count {
            out.extend_from_slice(&self.requests[self.next]);
            self.next = (self.next + 1) % self.requests.len();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_in_turn() {
        let mut requests = Prepared { requests: vec![b"a".to_vec(), b"bc".to_vec()], next: 0 };
        let mut out = Vec::new();
        assert_eq!((requests.fill(0, 3, &mut out), &out[..]), (3, &b"abca"[..]));
        let transactions = Asked::Transactions.requests();
        let first = String::from_utf8_lossy(&transactions.requests[0]).into_owned();
        assert_eq!(first.matches("\r\nSET\r\n").count() + first.matches("\r\nGET\r\n").count(), 10);
        assert!(first.starts_with("*1\r\n$5\r\nMULTI\r\n") && first.ends_with("*1\r\n$4\r\nEXEC\r\n"));
    }
}
