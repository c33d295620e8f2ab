//! The memory is lowered while a server runs, and raised again: CONFIG SET `maxmemory`, `cache_memlimit`.

mod servers;

use servers::*;
use std::net::TcpStream;
use torc_net::server::Server;

const MEMORY: u64 = 64 << 20;
const VALUE: usize = 1000;
/// More than fit.
const KEYS: usize = 80_000;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| config, scenario);
}

fn fill(stream: &mut TcpStream, from: usize) {
    let value = "v".repeat(VALUE);
    for first in (from..from + KEYS).step_by(1000) {
        let sets: Vec<_> = (first..first + 1000).map(|number| format!("SET key:{number} {value}")).collect();
        let answers = ask_lines(stream, &sets);
        assert!(answers.iter().all(|answer| answer == "+OK\r\n"), "{:?}", answers.first());
    }
}

/// A figure of INFO.
fn figure(stream: &mut TcpStream, name: &str) -> u64 {
    let info = ask_line(stream, "INFO memory");
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("INFO has it").parse().expect("it is a number")
}

fn set(stream: &mut TcpStream, memory: &str) -> String {
    ask_line(stream, &format!("CONFIG SET maxmemory {memory}"))
}

#[test]
fn a_store_goes_down_to_a_lower_limit_and_up_again() {
    on_each(|server| {
        let mut stream = connect(address(server));
        fill(&mut stream, 0);
        let full = figure(&mut stream, "used_memory");
        assert!(full > MEMORY / 2, "{full}");
        assert_eq!(set(&mut stream, "40mb"), "+OK\r\n");
        assert_eq!(figure(&mut stream, "maxmemory"), 40 << 20);
        // Nobody writes anything meanwhile.
        wait_until("memory is given back", || figure(&mut stream, "used_memory") <= 40 << 20);
        // What was used last is there.
        let last = format!("EXISTS key:{}", KEYS - 1);
        assert_eq!(ask_line(&mut stream, &last), ":1\r\n");
        fill(&mut stream, KEYS);
        let lowered = figure(&mut stream, "used_memory");
        assert!(lowered <= 40 << 20, "{lowered}");
        assert_eq!(set(&mut stream, "64mb"), "+OK\r\n");
        wait_until("it may grow", || {
            fill(&mut stream, 2 * KEYS);
            figure(&mut stream, "used_memory") > full / 16 * 15
        });
    });
}

#[test]
fn a_limit_is_bounded_and_has_units() {
    on_each(|server| {
        let mut stream = connect(address(server));
        for (word, bytes) in
            [("50000000", 50_000_000), ("50m", 50_000_000), ("50MB", 50 << 20), ("0", MEMORY)]
        {
            assert_eq!(set(&mut stream, word), "+OK\r\n", "{word}");
            let answer = format!("*2\r\n$9\r\nmaxmemory\r\n$8\r\n{bytes}\r\n");
            assert_eq!(ask_line(&mut stream, "CONFIG GET maxmemory"), answer);
        }
        for word in ["1", "65mb", "9223372036854775807"] {
            let answer = set(&mut stream, word);
            assert!(answer.contains("argument must be between") && answer.contains("67108864"), "{answer}");
        }
        for word in ["-1", "1tb", "many", "99999999999999999gb"] {
            assert!(set(&mut stream, word).contains("argument must be a memory value"), "{word}");
        }
        assert_eq!(figure(&mut stream, "maxmemory"), MEMORY);
        let mut memcache = connect(address(server));
        let refused = "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n";
        for (megabytes, answer) in [(50, "OK\r\n"), (65, refused), (8, refused)] {
            exchange(&mut memcache, format!("cache_memlimit {megabytes}\r\n").as_bytes(), answer.as_bytes());
            assert_eq!(figure(&mut stream, "maxmemory"), 50 << 20);
        }
    });
}
