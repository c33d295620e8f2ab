//! One kind of command in a loop on a bare shard, to count its instructions:
//!
//! ```text
//! for n in 10000 30000; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/engine set $n
//! done
//! ```
//!
//! The difference of the two counts, over 20,000, is what one command costs with its share of making room. With `shared` behind
//! the count the shard lies in memory that other processes may read.

use std::process::ExitCode;

use torc_engine::command::{Arithmetic, Command, Delta, Expiry, Op, Outcome, Read, Value, Write};
use torc_engine::{Shard, ShardConfig};

const NOW: u64 = 1_700_000_000_000;
const KEYS: usize = 1000;
const MEMORY_BYTES: u64 = 64 << 20;
/// Commands of a turn of a server's loop.
const TURN: u64 = 16;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok());
    let shared_memory = arguments.next().is_some_and(|word| word == "shared");
    let (Some(count), "get" | "set" | "incr") = (count, kind.as_str()) else {
        eprintln!("usage: engine get|set|incr COUNT [shared]");
        return ExitCode::FAILURE;
    };
    run(&kind, count, shared_memory);
    ExitCode::SUCCESS
}

/// Keys of 16 bytes, values of 64; counters have seven digits.
fn run(kind: &str, count: u64, shared_memory: bool) {
    let config = ShardConfig { now: NOW, shared_memory, ..ShardConfig::new(MEMORY_BYTES) };
    let mut shard = Shard::new(config).expect("memory");
    let value = if kind == "incr" { &b"1000000"[..] } else { &[b'v'; 64] };
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|number| format!("key:{number:012}").into_bytes()).collect();
    let write = Op::Write(Write::set(value));
    for key in &keys {
        ask(&mut shard, key, write, &mut Vec::new());
    }
    let step = Arithmetic {
        delta: Delta::Signed(1),
        initial: None,
        expiry: Expiry::Keep,
        compare: None,
        token: None,
        leases: false,
    };
    let op = match kind {
        "get" => Op::Read(Read::default()),
        "set" => write,
        _ => Op::Arithmetic(step),
    };
    let mut answer = Vec::with_capacity(64);
    for (number, key) in (0..count).zip(keys.iter().cycle()) {
        ask(&mut shard, key, op, &mut answer);
        if number % TURN == 0 {
            shard.maintain(NOW, 16);
        }
    }
}

fn ask(shard: &mut Shard, key: &[u8], op: Op<'_>, answer: &mut Vec<u8>) {
    let hash = shard.hash(0, key);
    match shard.execute(&Command { database: 0, key, op }, hash, NOW) {
        Outcome::Item(found) => {
            let Value::Inline(value) = found.value else { unreachable!("short values are no chains") };
            answer.clear();
            value.append_to(answer);
        }
        Outcome::Stored { .. } | Outcome::Counter { .. } => {}
        other => unreachable!("{other:?}"),
    }
}
