//! MONITOR over real servers: a client sees what all others ask for, whichever shard they speak to.

mod servers;

use servers::*;
use std::io::Write;
use std::net::TcpStream;
use torc_net::metrics::CloseReason;
use torc_net::observed::{MONITOR_BYTES_MAX, MONITORS_MAX};
use torc_net::server::Server;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| config, scenario);
}

/// Reads lines until `last` is among them: what stands behind the address of each.
fn seen(monitor: &mut TcpStream, last: &str) -> Vec<String> {
    let mut input = Vec::new();
    while !String::from_utf8_lossy(&input).contains(last) || !input.ends_with(b"\r\n") {
        read_more(monitor, &mut input);
    }
    let text = String::from_utf8(input).unwrap();
    text.lines()
        .map(|line| {
            let (time, rest) = line.strip_prefix('+').expect(line).split_once(" [").expect(line);
            assert!(time.split_once('.').is_some_and(|(_, us)| us.len() == 6), "{line}");
            let (from, words) = rest.split_once("] ").expect(line);
            let (database, peer) = from.split_once(' ').expect(line);
            assert!(peer.starts_with("127.0.0.1:") || peer == "lua", "{line}");
            let script = if peer == "lua" { "lua " } else { "" };
            format!("{database} {script}{words}")
        })
        .collect()
}

#[test]
fn what_others_ask_for_is_shown_in_their_order() {
    on_each(|server| {
        let mut monitor = connect(address(server));
        exchange(&mut monitor, b"MONITOR\r\n", b"+OK\r\n");
        let mut client = connect(address(server));
        exchange(&mut client, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\"\n\r\n", b"+OK\r\n");
        exchange(
            &mut client,
            b"get k\r\nSELECT 3\r\nMGET a b\r\n",
            b"$3\r\na\"\n\r\n+OK\r\n*2\r\n$-1\r\n$-1\r\n",
        );
        exchange(&mut client, b"AUTH x y\r\nCONFIG GET port\r\n", b"-WRONGPASS");
        let mut rest = Vec::new();
        while !rest.windows(4).any(|word| word == b"port") {
            read_more(&mut client, &mut rest);
        }
        exchange(
            &mut connect(address(server)),
            b"MULTI\r\nINCR n\r\nEXEC\r\n",
            b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n",
        );
        exchange(
            &mut connect(address(server)),
            b"set m 0 0 1\r\nv\r\nget m\r\n",
            b"STORED\r\nVALUE m 0 1\r\nv\r\nEND\r\n",
        );
        let long = [b"*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$100000\r\n", &[b'x'; 100_000][..], b"\r\n"].concat();
        exchange(&mut connect(address(server)), &long, b"+OK\r\n");
        exchange(&mut connect(address(server)), b"PING last\r\n", b"$4\r\nlast\r\n");
        let shown = seen(&mut monitor, "last");
        for line in [
            r#"0 "SET" "k" "a\"\n""#,
            r#"0 "get" "k""#,
            r#"3 "MGET" "a" "b""#,
            r#"0 "MULTI""#,
            r#"0 "INCR" "n""#,
            r#"0 "set" "m""#,
            r#"0 "get" "m""#,
            r#"0 "SET" "long""#,
            r#"0 "PING" "last""#,
        ] {
            assert!(shown.iter().any(|seen| seen.starts_with(line)), "{line}: {shown:#?}");
        }
        assert!(!shown.iter().any(|line| line.contains("AUTH") || line.contains("CONFIG")), "{shown:#?}");
        let place = |word: &str| shown.iter().position(|line| line.contains(word)).unwrap();
        assert!(place("\"SET\" \"k\"") < place("\"get\" \"k\"") && place("\"get\" \"k\"") < place("MGET"));
        // It can go on as a client, and is shown nothing more then.
        exchange(&mut monitor, b"RESET\r\n", b"+RESET\r\n");
        exchange(&mut client, b"PING\r\n", b"+PONG\r\n");
        exchange(&mut monitor, b"ECHO on\r\n", b"$2\r\non\r\n");
    });
}

#[test]
fn a_monitor_that_is_slower_than_others_ask_is_cut_off() {
    on_each(|server| {
        let mut monitor = connect(address(server));
        exchange(&mut monitor, b"MONITOR\r\n", b"+OK\r\n");
        let mut client = connect(address(server));
        let key = "k".repeat(900);
        // Far more than its socket, its output and what waits for it take.
        let requests = format!("GET {key}\r\n").repeat(64);
        let bytes = 64 * 950;
        let answers = b"$-1\r\n".repeat(64);
        for _ in 0..(64 * MONITOR_BYTES_MAX / bytes) {
            exchange(&mut client, requests.as_bytes(), &answers);
            if closes(server, CloseReason::Slow) > 0 {
                break;
            }
        }
        wait_until("it is cut off", || {
            closes(server, CloseReason::Slow) > 0 || sum(server, |stats| stats.monitors_lost.read()) > 0
        });
        exchange(&mut client, b"PING\r\n", b"+PONG\r\n");
    });
}

#[test]
fn there_are_so_many_monitors_and_gone_ones_do_not_count() {
    on_each(|server| {
        let mut monitors: Vec<TcpStream> = (0..MONITORS_MAX)
            .map(|_| {
                let mut monitor = connect(address(server));
                exchange(&mut monitor, b"MONITOR\r\n", b"+OK\r\n");
                monitor
            })
            .collect();
        let mut other = connect(address(server));
        exchange(&mut other, b"MONITOR\r\n", b"-ERR");
        let mut rest = Vec::new();
        read_more(&mut other, &mut rest);
        monitors.pop();
        wait_until("one is gone", || {
            let mut next = connect(address(server));
            next.write_all(b"MONITOR\r\n").unwrap();
            let mut answer = Vec::new();
            read_more(&mut next, &mut answer);
            answer == b"+OK\r\n"
        });
    });
}

/// A script that begins again for a key that it names is shown once.
#[test]
fn what_scripts_call_is_shown_behind_them() {
    const SCRIPT: &str = "redis.call('set', KEYS[1], 'a b') redis.pcall('incr', KEYS[1]) redis.pcall('nosuch') redis.pcall('eval', 'x', '0') \
                          return redis.call('GET', 'other' .. KEYS[1])";
    on_each(|server| {
        let mut monitor = connect(address(server));
        exchange(&mut monitor, b"MONITOR\r\n", b"+OK\r\n");
        let mut client = connect(address(server));
        for key in ["one", "two", "three", "four"] {
            let words = ["EVAL", SCRIPT, "1", key];
            let mut request = b"SELECT 3\r\n".to_vec();
            torc_proto::resp::compose::request(&mut request, &words);
            client.write_all(&request).unwrap();
            expect(&mut client, b"+OK\r\n$-1\r\n");
        }
        let many = "for i = 1, 10000 do redis.call('get', KEYS[1]) end";
        let mut request = Vec::new();
        torc_proto::resp::compose::request(&mut request, &["EVAL", many, "1", "many"]);
        client.write_all(&request).unwrap();
        expect(&mut client, b"$-1\r\n");
        exchange(&mut client, b"PING last\r\n", b"$4\r\nlast\r\n");
        let shown = seen(&mut monitor, "last");
        for key in ["one", "two", "three", "four"] {
            let at = shown
                .iter()
                .position(|line| line.contains("EVAL") && line.ends_with(&format!("\"{key}\"")))
                .unwrap();
            let expected = [
                format!("3 lua \"set\" \"{key}\" \"a b\""),
                format!("3 lua \"incr\" \"{key}\""),
                format!("3 lua \"GET\" \"other{key}\""),
            ];
            assert_eq!(shown[at + 1..at + 4], expected, "{shown:#?}");
        }
        assert_eq!(shown.iter().filter(|line| line.contains("lua \"set\"")).count(), 4);
        let (first, cut) = (shown.iter().filter(|line| line.contains("\"many\"")).count(), shown.len() - 2);
        assert!((1_000..10_000).contains(&first), "{first}");
        assert_eq!(shown[cut], format!("0 lua \"... ({} more commands)\"", 10_001 - first));
    });
}

#[test]
fn a_transaction_is_shown_behind_what_it_has_run() {
    on_each(|server| {
        let mut monitor = connect(address(server));
        exchange(&mut monitor, b"MONITOR\r\n", b"+OK\r\n");
        let mut client = connect(address(server));
        exchange(
            &mut client,
            b"SELECT 2\r\nMULTI\r\nSET a 1\r\nSET b 2\r\nEXEC\r\nEXEC\r\nPING last\r\n",
            b"+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n-ERR EXEC without MULTI\r\n$4\r\nlast\r\n",
        );
        let shown = seen(&mut monitor, "last");
        let words: Vec<&str> = shown.iter().map(|line| line.as_str()).collect();
        let expected = [
            r#"2 "SELECT" "2""#,
            r#"2 "MULTI""#,
            r#"2 "SET" "a" "1""#,
            r#"2 "SET" "b" "2""#,
            r#"2 "EXEC""#,
            r#"2 "EXEC""#,
            r#"2 "PING" "last""#,
        ];
        assert_eq!(words[1..], expected[1..], "{words:#?}");
    });
}
