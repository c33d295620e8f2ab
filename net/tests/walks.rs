//! Commands about keys and clients of all shards, over both transports: KEYS, RANDOMKEY, the keys of a slot, CLIENT LIST
//! and KILL.

mod servers;

use servers::*;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::net::TcpStream;
use torc_net::server::{Server, ServerConfig};
use torc_proto::slot::slot_of;

const KEYS: usize = 5000;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| ServerConfig { shard_port_base: Some(0), databases: 16, ..config }, scenario);
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The bulk strings of an array.
fn listed(answer: &str) -> Vec<&str> {
    assert!(answer.starts_with('*'), "{answer}");
    answer.split("\r\n").skip(1).filter(|line| !line.is_empty() && !line.starts_with('$')).collect()
}

fn key(number: usize) -> String {
    format!("key:{number}")
}

fn fill(stream: &mut TcpStream, count: usize) {
    let sets: Vec<_> = (0..count).map(|number| words(&format!("SET {} v", key(number)))).collect();
    let answers = ask_words(stream, &sets);
    assert!(answers.iter().all(|answer| answer == "+OK\r\n"));
}

#[test]
fn keys_of_all_shards_are_found_and_others_are_served_in_between() {
    on_each(|server| {
        let mut stream = connect(address(server));
        fill(&mut stream, KEYS);
        let all: HashSet<String> = (0..KEYS).map(key).collect();
        let answer = ask_line(&mut stream, "KEYS *");
        let found = listed(&answer);
        assert_eq!(found.len(), KEYS);
        assert_eq!(found.iter().map(|key| (*key).to_owned()).collect::<HashSet<_>>(), all);
        let answer = ask_line(&mut stream, "KEYS key:12[0-4]?");
        assert_eq!(listed(&answer).len(), 50);
        assert_eq!(ask_line(&mut stream, "KEYS none*"), "*0\r\n");
        // In their order among other commands.
        let many = ["SET new 1", "KEYS ne?", "DEL new", "KEYS ne?", "GET key:7", "RANDOMKEY", "PING"];
        let answers = ask_words(&mut stream, &many.map(words));
        assert_eq!(answers[..5], ["+OK\r\n", "*1\r\n$3\r\nnew\r\n", ":1\r\n", "*0\r\n", "$1\r\nv\r\n"]);
        assert_eq!(answers[6], "+PONG\r\n");
        // Another database has none of them.
        let others = ["SELECT 3", "KEYS *", "RANDOMKEY", "SET only 1", "KEYS *", "RANDOMKEY"];
        let answers = ask_words(&mut stream, &others.map(words));
        assert_eq!(answers[1..3], ["*0\r\n", "$-1\r\n"]);
        assert_eq!(answers[4..], ["*1\r\n$4\r\nonly\r\n", "$4\r\nonly\r\n"]);
    });
}

/// How often each key was the random one.
fn random_keys(stream: &mut TcpStream, times: usize) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    for _ in 0..times {
        *found.entry(ask_line(stream, "RANDOMKEY")).or_default() += 1;
    }
    found
}

#[test]
fn any_key_may_be_the_random_one() {
    on_each(|server| {
        let mut stream = connect(address(server));
        assert_eq!(ask_line(&mut stream, "RANDOMKEY"), "$-1\r\n");
        fill(&mut stream, 10);
        // Each is due 200 times.
        let found = random_keys(&mut stream, 2000);
        assert!(found.len() == 10 && found.values().all(|times| *times > 20), "{found:?}");
        // Many in one turn are not all the same one.
        let pipelined: HashSet<_> = ask_lines(&mut stream, &["RANDOMKEY"; 100]).into_iter().collect();
        assert!(pipelined.len() > 1, "{pipelined:?}");
        // A shard's own port tells those of the shard.
        let mut all = 0;
        for port in server.shard_addresses() {
            let mut stream = connect(*port);
            let size = ask_line(&mut stream, "DBSIZE");
            let keys: usize = size.trim_matches([':', '\r', '\n']).parse().expect("DBSIZE answers a number");
            let found = random_keys(&mut stream, 1000);
            assert!(found.len() == keys || keys == 0 && found.contains_key("$-1\r\n"), "{keys}: {found:?}");
            all += keys;
        }
        assert_eq!(all, 10);
    });
}

#[test]
fn what_is_found_is_bounded() {
    let config = kinds().remove(0);
    let server = start(ServerConfig { databases: 16, ..config });
    let mut stream = connect(address(&server));
    let long = |number: usize| vec!["SET".to_owned(), format!("{number:04000}"), "v".to_owned()];
    let sets: Vec<_> = (0..4300).map(long).collect();
    sets.chunks(100).for_each(|sets| drop(ask_words(&mut stream, sets)));
    let answer = ask_line(&mut stream, "KEYS *");
    assert_eq!(answer, "-ERR too much is found to be answered at once: use SCAN\r\n");
    assert_eq!(listed(&ask_line(&mut stream, "KEYS *42")).len(), 43);
    let pattern = format!("KEYS *{}b", "0".repeat(500));
    assert!(ask_line(&mut stream, &pattern).starts_with("-ERR the pattern takes more than"));
    assert_eq!(ask_line(&mut stream, "PING"), "+PONG\r\n");
    end(server);
}

#[test]
fn the_keys_of_a_slot_are_counted_and_listed() {
    on_each(|server| {
        let mut stream = connect(address(server));
        fill(&mut stream, KEYS);
        let slot = slot_of(key(0).as_bytes());
        let there: HashSet<String> =
            (0..KEYS).map(key).filter(|key| slot_of(key.as_bytes()) == slot).collect();
        let counted = ask_line(&mut stream, &format!("CLUSTER COUNTKEYSINSLOT {slot}"));
        assert_eq!(counted, format!(":{}\r\n", there.len()));
        let answer = ask_line(&mut stream, &format!("CLUSTER GETKEYSINSLOT {slot} 100"));
        assert_eq!(listed(&answer).into_iter().map(str::to_owned).collect::<HashSet<_>>(), there);
        assert_eq!(listed(&ask_line(&mut stream, &format!("CLUSTER GETKEYSINSLOT {slot} 0"))).len(), 0);
        assert_eq!(ask_line(&mut stream, "CLUSTER COUNTKEYSINSLOT 16384"), "-ERR Invalid slot\r\n");
        assert!(
            ask_line(&mut stream, "CLUSTER GETKEYSINSLOT 5 x").starts_with("-ERR value is not an integer")
        );
    });
}

#[test]
fn clients_of_all_shards_are_listed_and_killed() {
    on_each(|server| {
        let mut streams: Vec<TcpStream> = (0..20).map(|_| connect(address(server))).collect();
        let mut ids = Vec::new();
        for (number, stream) in streams.iter_mut().enumerate() {
            assert_eq!(ask_line(stream, &format!("CLIENT SETNAME name{number}")), "+OK\r\n");
            ids.push(ask_line(stream, "CLIENT ID").trim_matches([':', '\r', '\n']).to_owned());
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), streams.len());
        let mut asker = connect(address(server));
        let list = ask_line(&mut asker, "CLIENT LIST");
        for (number, id) in ids.iter().enumerate() {
            let line =
                list.lines().find(|line| line.contains(&format!("name=name{number} "))).expect("listed");
            assert!(
                line.trim_start_matches("\r\n").starts_with(&format!("id={id} addr=127.0.0.1:")),
                "{line}"
            );
        }
        let info = ask_line(&mut asker, "CLIENT INFO");
        assert!(info.contains("cmd=client|info"), "{info}");
        let own = ask_line(&mut asker, "CLIENT ID").trim_matches([':', '\r', '\n']).to_owned();
        assert!(list.contains(&format!("id={own} ")));
        let one = ask_line(&mut asker, &format!("CLIENT LIST ID {} {}", ids[3], ids[4]));
        assert_eq!(one.matches("id=").count(), 2, "{one}");
        assert_eq!(ask_line(&mut asker, &format!("CLIENT KILL ID {}", ids[3])), ":1\r\n");
        assert_eq!(streams[3].read(&mut [0; 16]).unwrap_or(0), 0, "it is closed");
        assert_eq!(ask_line(&mut asker, &format!("CLIENT KILL ID {}", ids[3])), ":0\r\n");
        let peer = streams[5].local_addr().unwrap();
        assert_eq!(ask_line(&mut asker, &format!("CLIENT KILL {peer}")), "+OK\r\n");
        assert_eq!(ask_line(&mut asker, &format!("CLIENT KILL {peer}")), "-ERR No such client\r\n");
        // All but the one that asks, and then that one, too.
        assert_eq!(ask_line(&mut asker, "CLIENT KILL TYPE normal"), ":18\r\n");
        assert_eq!(ask_line(&mut asker, "CLIENT KILL TYPE normal SKIPME no"), ":1\r\n");
        assert_eq!(asker.read(&mut [0; 16]).unwrap_or(0), 0, "it is closed");
    });
}

/// As Redis 7.0 tells it: who asks has its request in its input, and its arguments.
#[test]
fn what_clients_have_waiting_is_told() {
    on_each(|server| {
        let mut queuer = connect(address(server));
        let named = b"CLIENT SETNAME queuer\r\nMULTI\r\nGET k\r\nGET k\r\n";
        exchange(&mut queuer, named, b"+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        let mut asker = connect(address(server));
        let list = ask_words(&mut asker, &[words("client list")]).concat();
        let line = |of: &str| list.lines().find(|line| line.contains(of)).expect("listed").to_owned();
        let own = line(" cmd=client|list ");
        assert!(own.contains(" flags=N ") && own.contains(" multi=-1 qbuf=26 qbuf-free="), "{own}");
        assert!(own.contains(" argv-mem=10 multi-mem=0 rbs="), "{own}");
        let other = line(" name=queuer ");
        assert!(other.contains(" flags=x ") && other.contains(" multi=2 qbuf=0 "), "{other}");
        assert!(other.contains(" argv-mem=0 multi-mem="), "{other}");
    });
}
