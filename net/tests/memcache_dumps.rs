//! `lru_crawler metadump` and its like over real servers: all keys of all shards, whoever reads them how fast.

mod servers;

use servers::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use torc_net::metrics::CloseReason;
use torc_net::server::{Server, ServerConfig};

const KEYS: usize = 20_000;

fn on_each(scenario: impl Fn(&Server)) {
    for config in kinds() {
        eprintln!("{}, {} shards", config.transport, config.shards);
        let server = start(ServerConfig { shard_port_base: Some(0), ..config });
        scenario(&server);
        end(server);
    }
}

fn key(number: usize) -> String {
    format!("key:{number}:{}", "x".repeat(100))
}

fn fill(server: &Server) {
    let mut client = connect(address(server));
    for keys in (0..KEYS).collect::<Vec<_>>().chunks(500) {
        let sets = keys.iter().map(|&number| format!("set {} 7 0 3\r\nabc\r\n", key(number)));
        let answers = "STORED\r\n".repeat(keys.len());
        exchange(&mut client, sets.collect::<String>().as_bytes(), answers.as_bytes());
    }
}

/// Lines up to the end.
fn lines_to(client: &mut TcpStream, end: &str) -> Vec<String> {
    let mut input = Vec::new();
    while !input.ends_with(format!("{end}\r\n").as_bytes()) {
        read_more(client, &mut input);
    }
    let text = String::from_utf8(input).unwrap();
    text.lines().filter(|line| *line != end).map(str::to_owned).collect()
}

/// How many lines stand before each of the next ends.
fn lines_before_ends<const N: usize>(client: &TcpStream) -> [usize; N] {
    let mut lines = BufReader::new(client).lines();
    [(); N]
        .map(|()| lines.by_ref().take_while(|line| line.as_ref().expect("more of the dump") != "END").count())
}

fn dump(address: SocketAddr, command: &str, end: &str) -> Vec<String> {
    let mut client = connect(address);
    client.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    lines_to(&mut client, end)
}

fn all_keys() -> BTreeSet<String> {
    (0..KEYS).map(key).collect()
}

#[test]
fn a_dump_tells_every_key_of_every_shard_once() {
    on_each(|server| {
        assert_eq!(dump(address(server), "lru_crawler metadump all", "END"), Vec::<String>::new());
        fill(server);
        // At a shard's own port memcached's clients are served all keys, too.
        for address in [address(server), server.shard_addresses()[0]] {
            let lines = dump(address, "lru_crawler metadump all", "END");
            let keys: Vec<String> = lines
                .iter()
                .map(|line| {
                    let (key, facts) = line.strip_prefix("key=").unwrap().split_once(' ').unwrap();
                    assert!(
                        facts.starts_with("exp=-1 la=") && facts.ends_with("fetch=no cls=1 size=3 flags=7"),
                        "{line}"
                    );
                    key.replace("%3A", ":")
                })
                .collect();
            assert_eq!((keys.len(), keys.into_iter().collect()), (KEYS, all_keys()));
        }
        let gets = dump(address(server), "lru_crawler mgdump hash", "EN");
        assert_eq!(gets.iter().map(|line| line[3..].to_owned()).collect::<BTreeSet<_>>(), all_keys());
        assert_eq!(dump(address(server), "lru_crawler metadump 2", "END"), Vec::<String>::new());
        assert_eq!(dump(address(server), "stats cachedump 1 1500", "END").len(), 1500);
        assert_eq!(dump(address(server), "stats cachedump 1 0", "END").len(), KEYS);
    });
}

/// Keys that are set, deleted and expire meanwhile may be there or not; all others are.
#[test]
fn keys_that_stay_are_told_while_others_come_and_go() {
    on_each(|server| {
        fill(server);
        let mut reader = connect(address(server));
        reader.write_all(b"lru_crawler metadump all\r\n").unwrap();
        let mut writer = connect(address(server));
        for number in 0..2000 {
            let request = format!("set other{number} 0 0 1\r\nx\r\ndelete other{number}\r\n");
            exchange(&mut writer, request.as_bytes(), b"STORED\r\nDELETED\r\n");
        }
        let lines = lines_to(&mut reader, "END");
        let keys: BTreeSet<String> =
            lines.iter().map(|line| line.split(' ').next().unwrap()[4..].replace("%3A", ":")).collect();
        assert!(keys.is_superset(&all_keys()), "{} of {KEYS}", keys.len());
        // The connection goes on, in order.
        exchange(&mut reader, b"mn\r\n", b"MN\r\n");
    });
}

#[test]
fn a_client_that_reads_nothing_stops_its_dump_and_nobody_else() {
    on_each(|server| {
        fill(server);
        let dumps: Vec<TcpStream> = (0..4)
            .map(|_| {
                let mut client = connect(address(server));
                // Far more than sockets take.
                client.write_all("lru_crawler metadump all\r\n".repeat(20).as_bytes()).unwrap();
                client
            })
            .collect();
        let mut other = connect(address(server));
        for _ in 0..500 {
            exchange(&mut other, b"mn\r\n", b"MN\r\n");
        }
        let sent = sum(server, |stats| stats.sent_bytes.read());
        std::thread::sleep(std::time::Duration::from_millis(300));
        let held = sum(server, |stats| stats.sent_bytes.read()) - sent;
        let all = 4 * 20 * (KEYS as u64) * 150;
        assert!(held < all / 4, "{held} of {all} bytes went to clients that read nothing");
        // Who begins to read is told the rest.
        let told = lines_before_ends(&dumps[0]);
        let reasons = [CloseReason::Memory, CloseReason::Slow, CloseReason::Client, CloseReason::Garbage];
        assert_eq!(told, [KEYS; 2], "{:?}", reasons.map(|reason| closes(server, reason)));
        drop(dumps);
        exchange(&mut other, b"mn\r\n", b"MN\r\n");
    });
}
