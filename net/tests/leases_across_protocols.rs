//! A lease won by memcached's meta commands, met by Redis' commands: to them its placeholder is no item, but a
//! deletion ends it.

mod support;

use support::{Connection, shard, shown};
use torc_engine::Shard;
use torc_net::session::Protocol;

const NOW: u64 = 1_800_000_000_000;

/// One connection of each protocol on one shard, and a lease of the key `k`.
struct Clients {
    memcache: Connection,
    resp: Connection,
    shard: Shard,
    token: String,
}

impl Clients {
    fn with_lease() -> Clients {
        let mut clients = Clients {
            memcache: Connection::new(Some(Protocol::Memcache)),
            resp: Connection::new(Some(Protocol::Resp)),
            shard: shard(NOW),
            token: String::new(),
        };
        let won = clients.memcache("mg k N60 c\r\n");
        let token = won.strip_prefix("HD c").and_then(|rest| rest.strip_suffix(" W\\r\\n"));
        clients.token = token.unwrap_or_else(|| panic!("{won}")).to_string();
        clients
    }

    fn memcache(&mut self, request: &str) -> String {
        shown(&self.memcache.send(request.as_bytes(), &mut self.shard, NOW))
    }

    fn resp(&mut self, request: &str) -> String {
        shown(&self.resp.send(format!("{request}\r\n").as_bytes(), &mut self.shard, NOW))
    }

    /// What who won the lease is answered.
    fn store(&mut self) -> String {
        let request = format!("ms k 5 C{}\r\nstale\r\n", self.token);
        self.memcache(&request)
    }
}

#[test]
fn a_deletion_by_redis_commands_ends_a_lease_and_counts_nothing() {
    for (request, answer) in [
        ("DEL k", ":0\\r\\n"),
        ("DEL other k", ":0\\r\\n"),
        ("UNLINK k", ":0\\r\\n"),
        ("GETDEL k", "$-1\\r\\n"),
        ("FLUSHALL", "+OK\\r\\n"),
    ] {
        let mut clients = Clients::with_lease();
        assert_eq!(clients.resp(request), answer, "{request}");
        assert_eq!(clients.store(), "NF\\r\\n", "{request}");
    }
}

#[test]
fn redis_commands_that_find_nothing_leave_a_lease_as_it_is() {
    for (request, answer) in [
        ("GET k", "$-1\\r\\n"),
        ("EXISTS k", ":0\\r\\n"),
        ("TTL k", ":-2\\r\\n"),
        ("TYPE k", "+none\\r\\n"),
        ("EXPIRE k 5", ":0\\r\\n"),
        ("PERSIST k", ":0\\r\\n"),
        ("SET k v XX", "$-1\\r\\n"),
        ("GETEX k EX 5", "$-1\\r\\n"),
    ] {
        let mut clients = Clients::with_lease();
        assert_eq!(clients.resp(request), answer, "{request}");
        assert_eq!(clients.memcache("mg k t\r\n"), "HD t60 Z\\r\\n", "{request}");
        assert_eq!(clients.store(), "HD\\r\\n", "{request}");
    }
}

#[test]
fn redis_commands_that_store_beat_a_lease() {
    for (request, answer) in [
        ("SET k v", "+OK\\r\\n"),
        ("SETNX k v", ":1\\r\\n"),
        ("GETSET k v", "$-1\\r\\n"),
        ("APPEND k v", ":1\\r\\n"),
        ("SETRANGE k 0 v", ":1\\r\\n"),
        ("INCR k", ":1\\r\\n"),
        ("INCRBYFLOAT k 0.5", "$3\\r\\n0.5\\r\\n"),
    ] {
        let mut clients = Clients::with_lease();
        assert_eq!(clients.resp(request), answer, "{request}");
        assert_eq!(clients.store(), "EX\\r\\n", "{request}");
        assert_eq!(clients.resp("TTL k"), ":-1\\r\\n", "{request}");
    }
}
