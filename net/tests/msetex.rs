//! MSETEX over real servers: all keys get their values and their expiry, or none does, whatever their shards.

mod servers;

use servers::*;
use torc_net::server::Server;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| config, scenario);
}

#[test]
fn keys_get_values_and_an_expiry_together() {
    on_each(|server| {
        let mut client = connect(address(server));
        for (request, answer) in [
            ("MSETEX 2 a 1 b 2 EX 100", ":1"),
            ("MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2"),
            ("TTL a", ":100"),
            ("TTL b", ":100"),
            ("MSETEX 2 a 3 c 4 NX", ":0"),
            ("MSETEX 2 a 3 c 4 XX", ":0"),
            ("MGET a c", "*2\r\n$1\r\n1\r\n$-1"),
            ("MSETEX 2 a 5 b 6 XX KEEPTTL", ":1"),
            ("TTL a", ":100"),
            ("MGET a b", "*2\r\n$1\r\n5\r\n$1\r\n6"),
            ("MSETEX 2 c 7 d 8 nx px 100000", ":1"),
            ("TTL d", ":100"),
            ("MSETEX 1 a 9", ":1"),
            ("TTL a", ":-1"),
            ("MSETEX 1 k v EXAT 4102444800", ":1"),
            ("EXPIRETIME k", ":4102444800"),
            ("MSETEX 0 a 1", "-ERR invalid numkeys value"),
            ("MSETEX x a 1", "-ERR invalid numkeys value"),
            ("MSETEX 2 a 1", "-ERR wrong number of key-value pairs"),
            ("MSETEX 1 a 1 NX XX", "-ERR syntax error"),
            ("MSETEX 1 a 1 GET", "-ERR syntax error"),
            ("MSETEX 1 a 1 b 2", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command"),
            ("MSETEX 1 a", "-ERR wrong number of arguments for 'msetex' command"),
            ("GET a", "$1\r\n9"),
            ("MULTI", "+OK"),
            ("MSETEX 2 a 1 e 2 EX 5", "+QUEUED"),
            ("INCR a", "+QUEUED"),
            ("EXEC", "*2\r\n:1\r\n:2"),
            ("TTL e", ":5"),
        ] {
            eprintln!("{request}");
            exchange(&mut client, format!("{request}\r\n").as_bytes(), format!("{answer}\r\n").as_bytes());
        }
    });
}

/// An option is no key: on a shard's own port it decides about no slot.
#[test]
fn only_keys_have_a_slot() {
    for config in kinds().into_iter().filter(|config| config.shards == 2) {
        let server = start(torc_net::server::ServerConfig { shard_port_base: Some(0), ..config });
        let shard = server.shard_addresses()[usize::from(torc_proto::slot::slot_of(b"{a}") >= 8192)];
        let mut client = connect(shard);
        exchange(&mut client, b"MSETEX 2 {a}1 v {a}2 w NX EX 100\r\n", b":1\r\n");
        exchange(
            &mut client,
            b"MSETEX 2 {a}1 v {b}2 w\r\n",
            b"-CROSSSLOT Keys in request don't hash to the same slot\r\n",
        );
        end(server);
    }
}
