//! What is stopped has changed nothing, and attacks stop nobody else.

use crate::client::{Client, KEYS, on_each};
use crate::servers::{address, on_each_kind, sum, wait_until};
use std::time::{Duration, Instant};
use torc_net::server::ServerConfig;

const SET_ALL_NO_RETURN: &str = "for _, key in ipairs(KEYS) do redis.call('set', key, ARGV[1]) end";

#[test]
fn a_script_that_is_stopped_has_changed_nothing_and_one_that_fails_has() {
    const LIMIT: &str = "-ERR busy: limit --script-";
    on_each(|server| {
        let mut client = Client::new(address(server));
        let endings = [
            ("while true do end", false),
            ("local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end", false),
            ("return string.find(('a'):rep(50), ('a*'):rep(30) .. 'b')", false),
            ("while true do redis.pcall('incr', KEYS[1]) end", false),
            ("error('x')", true),
            ("return redis.call('nope')", true),
            ("return 1", true),
        ];
        for (ending, stays) in endings {
            let script = format!("{SET_ALL_NO_RETURN} {ending}");
            client.ask(&["DEL", "key0", "key1", "key2", "key3", "key4", "key5", "key6", "key7"]);
            let seen = client.eval("return redis.call('exists', unpack(KEYS))", &KEYS, &[]);
            assert_eq!(seen, ":0\r\n", "nothing is left of the script before");
            let answer = client.eval(&script, &KEYS, &["v"]);
            assert_eq!(answer.starts_with(LIMIT), !stays, "{ending}: {answer}");
            let all: Vec<&str> = ["EXISTS"].into_iter().chain(KEYS).collect();
            let expected = if stays { ":8\r\n" } else { ":0\r\n" };
            assert_eq!(client.ask(&all), expected, "{ending}");
        }
        assert!(sum(server, |stats| stats.scripts_out_of_time.read()) >= 2);
        assert!(sum(server, |stats| stats.scripts_out_of_memory.read()) >= 1);
    });
}

/// Many clients whose scripts do not end, and one that wants something else meanwhile.
#[test]
fn attacks_stop_nobody_else_for_long() {
    on_each(|server| {
        let address = address(server);
        let attacks = [
            "while true do end",
            "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = s end return t",
            "while true do pcall(string.find, ('a'):rep(50), ('a*'):rep(30) .. 'b') end",
            "local function f() return pcall(f) end return f()",
            "for i = 1, 1e9 do redis.call('set', 'attack' .. i, i) end",
        ];
        let mut attackers: Vec<Client> = (0..20).map(|_| Client::new(address)).collect();
        for (number, client) in attackers.iter_mut().enumerate() {
            client.send(&["EVAL", attacks[number % attacks.len()], "0"]);
        }
        let mut client = Client::new(address);
        let began = Instant::now();
        assert_eq!(client.ask(&["SET", "neighbour", "1"]), "+OK\r\n");
        assert_eq!(client.eval("return redis.call('incr', KEYS[1])", &["neighbour"], &[]), ":2\r\n");
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(15), "{waited:?}");
        for (number, attacker) in attackers.iter_mut().enumerate() {
            let answer = attacker.receive();
            assert!(answer.starts_with("-ERR") || answer == ":1\r\n", "{number}: {answer}");
        }
        // Some that leave half-way.
        for _ in 0..10 {
            Client::new(address).send(&[
                "EVAL",
                "redis.call('incr', KEYS[1]) while true do end",
                "2",
                "key1",
                "key2",
            ]);
        }
        wait_until("nothing is held", || sum(server, |stats| stats.held_keys.read()) == 0);
        assert_eq!(client.ask(&["EXISTS", "key1"]), ":0\r\n");
    });
}

/// What a shard runs for clients of another one is bounded in each turn: the rest is run by the shard of these clients.
#[test]
fn attacks_by_way_of_another_shard_stop_nobody_for_long() {
    // All of them together are to be over before a transaction has waited too long.
    let short = Duration::from_millis(100);
    on_each_kind(
        |config| ServerConfig { databases: 16, script_time_max: short, ..config },
        |server| {
            let address = address(server);
            let mut attackers: Vec<Client> = (0..20).map(|_| Client::new(address)).collect();
            for client in &mut attackers {
                client.send(&["EVAL", "redis.call('incr', KEYS[1]) while true do end", "1", "{a}0"]);
            }
            let began = Instant::now();
            assert_eq!(Client::new(address).ask(&["INCR", "{a}1"]), ":1\r\n");
            assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
            for attacker in &mut attackers {
                let answer = attacker.receive();
                assert!(answer.contains("limit --script-time-max reached"), "{answer}");
            }
            for _ in 0..10 {
                Client::new(address).send(&[
                    "EVAL",
                    "redis.call('incr', KEYS[1]) while true do end",
                    "1",
                    "{a}0",
                ]);
            }
            wait_until("nothing is held", || sum(server, |stats| stats.held_keys.read()) == 0);
            assert_eq!(Client::new(address).ask(&["EXISTS", "{a}0"]), ":0\r\n");
        },
    );
}

/// One that names a value thousands of times has the memory of one script, and one that begins again for each key has the time
/// of one.
#[test]
fn answers_to_scripts_and_all_their_attempts_are_bounded() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        let long = "v".repeat(1_000_000);
        assert_eq!(client.ask(&["SET", "long", &long]), "+OK\r\n");
        let often =
            "local t = {} for i = 1, 7000 do t[i] = KEYS[1] end return #redis.call('mget', unpack(t))";
        let before = resident_bytes();
        let answer = client.eval(often, &["long"], &[]);
        assert!(answer.contains("limit --script-memory-max reached"), "{answer}");
        assert!(resident_bytes() < before + (200 << 20), "{}", resident_bytes() - before);
        assert_eq!(client.eval("return #redis.call('get', KEYS[1])", &["long"], &[]), ":1000000\r\n");
        let busy =
            "local x = 0 for i = 1, 2e6 do x = x + i end for i = 1, 100 do redis.call('get', 'x' .. i) end";
        let began = Instant::now();
        let answer = client.eval(busy, &[], &[]);
        assert!(answer.contains("limit --script-time-max reached"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    });
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// One LCS at its bound takes long; a script of many is stopped in time all the same.
#[test]
fn commands_that_take_long_count_as_time_of_their_script() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        for (key, byte) in [("key0", 'a'), ("key1", 'b')] {
            let value: String = (0..30_000u32).map(|at| if at * at % 7 < 3 { byte } else { 'c' }).collect();
            client.ask(&["SET", key, &value]);
        }
        let begun = Instant::now();
        let script = "for i = 1, 1000 do redis.call('lcs', KEYS[1], KEYS[2]) end return 'done'";
        let answer = client.eval(script, &["key0", "key1"], &[]);
        assert!(answer.contains("script-time-max"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    });
}
