//! Redis' databases, over two shards and both transports: each is apart, and flushes and swaps are of all shards.

mod servers;

use servers::*;
use std::io::Write;
use std::net::TcpStream;
use torc_net::server::{Server, ServerConfig};

const KEYS: usize = 300;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| ServerConfig { shard_port_base: Some(0), databases: 16, ..config }, scenario);
}

fn client_of(server: &Server, database: u16) -> TcpStream {
    let mut stream = connect(address(server));
    assert_eq!(ask_line(&mut stream, &format!("SELECT {database}")), "+OK\r\n");
    stream
}

/// Long values among others, and some that expire.
fn value(database: u16, number: usize) -> String {
    let len = if number.is_multiple_of(50) { 40_000 } else { 20 };
    format!("{number}@{database}-").chars().cycle().take(len).collect()
}

fn fill(stream: &mut TcpStream, database: u16) {
    let set = |number: usize| {
        let mut words = vec!["SET".into(), format!("key{number}"), value(database, number)];
        if number.is_multiple_of(3) {
            words.extend(["EX".to_owned(), "1000".to_owned()]);
        }
        words
    };
    let answers = ask_words(stream, &(0..KEYS).map(set).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer == "+OK\r\n"), "{answers:?}");
}

/// Whose values the keys of a database are; `None`: there are none.
fn holds(stream: &mut TcpStream) -> Option<u16> {
    let gets: Vec<_> = (0..KEYS).map(|number| vec!["GET".into(), format!("key{number}")]).collect();
    let answers = ask_words(stream, &gets);
    let whose = |database: u16| {
        let bulk = |number| format!("${}\r\n{}\r\n", value(database, number).len(), value(database, number));
        (0..KEYS).all(|number| answers[number] == bulk(number))
    };
    let found = (0..16).find(|&database| whose(database));
    assert!(
        found.is_some() || answers.iter().all(|answer| answer == "$-1\r\n"),
        "some keys, or those of several"
    );
    found
}

fn scanned(stream: &mut TcpStream) -> usize {
    let (mut cursor, mut count) = ("0".to_owned(), 0);
    loop {
        let page = ask_line(stream, &format!("SCAN {cursor} COUNT 100"));
        cursor = page.lines().nth(2).unwrap().into();
        count += page.matches("key").count();
        if cursor == "0" {
            return count;
        }
    }
}

#[test]
fn databases_are_apart_and_flushed_and_swapped_each_by_itself() {
    on_each(|server| {
        let mut clients: Vec<_> = [0, 1, 15].map(|database| (database, client_of(server, database))).into();
        for (database, client) in &mut clients {
            assert_eq!(holds(client), None);
            fill(client, *database);
        }
        for (database, client) in &mut clients {
            assert_eq!(holds(client), Some(*database));
            assert_eq!((ask_line(client, "DBSIZE"), scanned(client)), (format!(":{KEYS}\r\n"), KEYS));
            let info = ask_line(client, "INFO keyspace");
            let line = info.lines().find(|line| line.starts_with(&format!("db{database}:"))).unwrap();
            let ttl: u64 = line.rsplit('=').next().unwrap().parse().unwrap();
            assert!(line.contains(&format!("keys={KEYS},expires={},", KEYS / 3)), "{line}");
            assert!((990_000..=1_001_000).contains(&ttl), "{line}");
            assert!(ask_line(client, "CLIENT INFO").contains(&format!(" db={database} ")));
        }
        let [(_, zero), (_, one), (_, last)] = &mut clients[..] else { unreachable!("there are three") };
        assert_eq!(ask_line(one, "FLUSHDB"), "+OK\r\n");
        assert_eq!([holds(zero), holds(one), holds(last)], [Some(0), None, Some(15)]);
        assert_eq!((ask_line(one, "DBSIZE"), scanned(one)), (":0\r\n".into(), 0));
        assert_eq!(ask_line(last, "SWAPDB 0 1"), "+OK\r\n");
        assert_eq!([holds(zero), holds(one), holds(last)], [None, Some(0), Some(15)]);
        assert_eq!(ask_line(one, "DBSIZE"), format!(":{KEYS}\r\n"));
        fill(zero, 7);
        // What was asked before a flush on the same connection is flushed, what comes behind it is not.
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let both =
            ["SET key0 before", "SET key1 before", "FLUSHDB", "SET key2 behind", "MGET key0 key1 key2"];
        let answers = ask_words(zero, &both.map(words));
        assert_eq!(answers[4], "*3\r\n$-1\r\n$-1\r\n$6\r\nbehind\r\n");
        // In one pipeline, too.
        let hops =
            ["SELECT 15", "GET key1", "SELECT 99", "GET key1", "SELECT 1", "GET key1", "RESET", "GET key2"];
        let answers = ask_words(zero, &hops.map(words));
        let bulk = |database| format!("${}\r\n{}\r\n", value(database, 1).len(), value(database, 1));
        assert_eq!([&answers[1], &answers[3], &answers[5]], [&bulk(15), &bulk(15), &bulk(0)]);
        assert_eq!(answers[7], "$6\r\nbehind\r\n");
        assert_eq!(ask_line(last, "FLUSHALL"), "+OK\r\n");
        assert_eq!([holds(zero), holds(one), holds(last)], [None; 3]);
        assert!(!ask_line(zero, "INFO keyspace").contains("db"));
    });
}

#[test]
fn memcached_has_database_0_whatever_that_shows() {
    on_each(|server| {
        let (mut zero, mut nine) = (client_of(server, 0), client_of(server, 9));
        let mut memcached = connect(address(server));
        let mut said = |words: &str, end: &str| {
            memcached.write_all(words.as_bytes()).unwrap();
            let (mut answer, mut byte) = (String::new(), [0; 1]);
            while !answer.ends_with(end) {
                std::io::Read::read_exact(&mut memcached, &mut byte).unwrap();
                answer.push(byte[0].into());
            }
            answer
        };
        assert_eq!(said("set k 0 0 3\r\nold\r\n", "\r\n"), "STORED\r\n");
        assert_eq!(ask_line(&mut zero, "GET k"), "$3\r\nold\r\n");
        assert_eq!(ask_line(&mut nine, "SET k nine"), "+OK\r\n");
        assert_eq!(ask_line(&mut nine, "SWAPDB 9 0"), "+OK\r\n");
        assert_eq!(said("get k\r\n", "END\r\n"), "VALUE k 0 4\r\nnine\r\nEND\r\n");
        assert_eq!(ask_line(&mut zero, "FLUSHDB"), "+OK\r\n");
        assert_eq!(said("get k\r\n", "END\r\n"), "END\r\n");
        assert_eq!(ask_line(&mut nine, "GET k"), "$3\r\nold\r\n");
    });
}

#[test]
fn a_shards_port_has_one_database_as_a_node_of_a_cluster() {
    on_each(|server| {
        let Some(port) = server.shard_addresses().first() else { return };
        let mut node = connect(*port);
        assert_eq!(ask_line(&mut node, "SELECT 0"), "+OK\r\n");
        assert_eq!(ask_line(&mut node, "SELECT 1"), "-ERR SELECT is not allowed in cluster mode\r\n");
        assert_eq!(ask_line(&mut node, "SWAPDB 0 1"), "-ERR SWAPDB is not allowed in cluster mode\r\n");
        let mut one = client_of(server, 1);
        fill(&mut one, 1);
        let refused = ask_line(&mut node, "FLUSHDB");
        assert!(refused.starts_with("-ERR this shard has keys of other databases"), "{refused}");
        assert_eq!(holds(&mut one), Some(1));
        assert_eq!(ask_line(&mut one, "FLUSHDB"), "+OK\r\n");
        let mut zero = client_of(server, 0);
        fill(&mut zero, 0);
        assert_eq!(ask_line(&mut node, "FLUSHDB"), "+OK\r\n");
        assert_eq!(ask_line(&mut node, "DBSIZE"), ":0\r\n");
    });
}

#[test]
fn memory_of_flushed_databases_comes_back() {
    on_each(|server| {
        let mut client = client_of(server, 3);
        let mut other = client_of(server, 0);
        assert_eq!(ask_line(&mut other, "SET stays here"), "+OK\r\n");
        let live = |server: &Server| -> u64 {
            server.stats().iter().map(|stats| stats.shard.bytes_live.read()).sum()
        };
        for _ in 0..20 {
            fill(&mut client, 3);
            assert!(live(server) > 200_000);
            assert_eq!(ask_line(&mut client, "FLUSHDB"), "+OK\r\n");
            assert!(live(server) < 1000, "it counts no more at once");
        }
        let used = || -> u64 {
            let bytes = |name: &str| {
                let stats = server.stats();
                let of = |stats: &torc_net::server::Stats| {
                    stats.shard.figures().find(|figure| figure.name == name).map_or(0, |figure| figure.value)
                };
                stats.iter().map(of).sum::<u64>()
            };
            bytes("bytes_segments")
        };
        wait_until("segments are free again", || used() <= 3 * server.stats().len() as u64 * (1 << 20));
        assert_eq!(ask_line(&mut other, "GET stays"), "$4\r\nhere\r\n");
    });
}
