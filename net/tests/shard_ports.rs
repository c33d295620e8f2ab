//! What a cluster client sees: each shard's own port is a node of its own, the common port is the server.

mod servers;

use servers::*;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use torc_net::server::{Server, ServerConfig};
use torc_net::slots::SlotMap;
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};
use torc_proto::slot::slot_of;

/// A server of two shards that have ports of their own, on each transport.
fn on_each(scenario: impl Fn(&Server)) {
    for config in kinds().into_iter().filter(|config| config.shards == 2) {
        eprintln!("{}", config.transport);
        let server = start(ServerConfig { shard_port_base: Some(0), ..config });
        scenario(&server);
        end(server);
    }
}

/// Sends one request and reads the one answer to it, as it is on the wire.
fn ask(stream: &mut TcpStream, words: &[&str]) -> String {
    let mut request = Vec::new();
    compose::request(&mut request, words);
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    loop {
        let mut more = [0; 1];
        std::io::Read::read_exact(stream, &mut more).unwrap();
        answer.extend_from_slice(&more);
        if let Parsed::Complete { .. } = parse(&answer) {
            return String::from_utf8(answer).unwrap();
        }
    }
}

/// Keys of different slots, of the shard with this number.
fn keys_of(shard: u16, count: usize) -> Vec<String> {
    let slots = SlotMap::even(2);
    let keys = (0..).map(|number| format!("key{number}"));
    keys.filter(|key| slots.owner(slot_of(key.as_bytes())) == shard).take(count).collect()
}

fn field(info: &str, name: &str) -> String {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
}

const CROSS_SLOT: &str = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";

/// Once the keys of this shard were changed and the others refused, or MOVED came inside of an array.
#[test]
fn a_request_with_keys_of_several_slots_is_refused_on_a_shards_port_and_nothing_is_done() {
    on_each(|server| {
        let ports = server.shard_addresses();
        let mut common = connect(address(server));
        let (own, foreign) = (keys_of(0, 2), keys_of(1, 1));
        let mut node = connect(ports[0]);
        assert_eq!(ask(&mut node, &["SET", &own[0], "v"]), "+OK\r\n");
        for other in [&own[1], &foreign[0]] {
            for request in [
                &["MSET", &own[0], "1", other, "2"][..],
                &["MSET", other, "1", &own[0], "2"],
                // The slots are looked at first, as Redis does.
                &["MSET", other, "1", &own[0]],
                &["MGET", &own[0], other],
                &["DEL", &own[0], other],
                &["UNLINK", other, &own[0]],
                &["EXISTS", other, &own[0]],
                &["TOUCH", &own[0], other],
            ] {
                assert_eq!(ask(&mut node, request), CROSS_SLOT, "{request:?}");
            }
            assert_eq!(ask(&mut common, &["MGET", &own[0], other]), "*2\r\n$1\r\nv\r\n$-1\r\n");
        }
        assert_eq!(ask(&mut common, &["MSET", &own[0], "1", &foreign[0], "2"]), "+OK\r\n");
    });
}

#[test]
fn a_request_with_keys_of_one_slot_is_done_on_its_shards_port_and_moved_as_a_whole_on_others() {
    on_each(|server| {
        let ports = server.shard_addresses();
        let tag = keys_of(1, 1).remove(0);
        let [a, b] = ["a", "b"].map(|name| format!("{{{tag}}}{name}"));
        let moved = format!("-MOVED {} {}\r\n", slot_of(tag.as_bytes()), ports[1]);
        let requests: [(&[&str], &str); 5] = [
            (&["MSET", &a, "1", &b, "2"], "+OK\r\n"),
            (&["MGET", &a, &b], "*2\r\n$1\r\n1\r\n$1\r\n2\r\n"),
            (&["EXISTS", &a, &b], ":2\r\n"),
            (&["DEL", &a, &b], ":2\r\n"),
            (&["GET", &a], "$-1\r\n"),
        ];
        let (mut stranger, mut owner) = (connect(ports[0]), connect(ports[1]));
        for (request, answer) in requests {
            assert_eq!(ask(&mut stranger, request), moved, "{request:?}");
            assert_eq!(ask(&mut owner, request), answer, "{request:?}");
        }
    });
}

/// Once each node told the sums, which cluster clients added up again.
#[test]
fn figures_on_a_shards_port_are_its_own_and_on_the_common_port_the_sums() {
    on_each(|server| {
        let mut common = connect(address(server));
        for (shard, count) in [(0, 3), (1, 5)] {
            for key in keys_of(shard, count) {
                assert_eq!(ask(&mut common, &["SET", &key, "v"]), "+OK\r\n");
            }
        }
        let ports = server.shard_addresses().iter().copied();
        let nodes = [("3", ports.clone().next()), ("5", ports.clone().nth(1)), ("8", Some(address(server)))];
        let mut memory = Vec::new();
        for (items, node) in nodes {
            let mut node = connect(node.expect("two shards"));
            // A shard tells of its items at the end of a turn.
            wait_until("the items", || ask(&mut node, &["DBSIZE"]) == format!(":{items}\r\n"));
            let info = ask(&mut node, &["INFO"]);
            assert_eq!(field(&info, "db0"), format!("keys={items},expires=0,avg_ttl=0"));
            memory.push(field(&info, "maxmemory").parse::<u64>().unwrap());
        }
        assert_eq!(memory[0] + memory[1], memory[2]);
    });
}

/// Once the common port was whichever shard had accepted the connection.
#[test]
fn the_common_port_is_one_node_whichever_shard_accepts() {
    on_each(|server| {
        let identity = |address: SocketAddr| {
            let mut stream = connect(address);
            let info = ask(&mut stream, &["INFO", "server"]);
            let nodes = ask(&mut stream, &["CLUSTER", "NODES"]);
            let myself = nodes.lines().find(|line| line.contains("myself")).expect("a node that is asked");
            (field(&info, "run_id"), ask(&mut stream, &["CLUSTER", "MYID"]), myself.to_owned())
        };
        let ports = server.shard_addresses();
        assert_ne!(identity(ports[0]), identity(ports[1]));
        // The kernel spreads connections by their source port.
        let first = identity(address(server));
        (0..32).for_each(|_| assert_eq!(identity(address(server)), first));
    });
}

#[test]
fn figures_of_a_shard_are_counted_anew_from_a_reset() {
    on_each(|server| {
        let mut node = connect(server.shard_addresses()[0]);
        let mut common = connect(address(server));
        (0..50).for_each(|_| assert_eq!(ask(&mut node, &["PING"]), "+PONG\r\n"));
        let commands = |client: &mut TcpStream| {
            field(&ask(client, &["INFO", "stats"]), "total_commands_processed").parse::<u64>().unwrap()
        };
        assert!(commands(&mut node) >= 50 && commands(&mut common) >= 50);
        assert_eq!(ask(&mut node, &["CONFIG", "RESETSTAT"]), "+OK\r\n");
        assert!(commands(&mut node) < 10 && commands(&mut common) < 10);
    });
}
