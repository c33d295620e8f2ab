//! The client library against the real server, over sockets: one shard, several, and changes done once.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use torc_client::{Client, Config, Done, Error, Expiry, Lease, Status, TouchIf};
use torc_net::server::{Endpoint, Listen, Server, ServerConfig};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, Change, FrameLimits, Hello, Op, Options, ParseError, marks};

fn start(change: impl FnOnce(&mut ServerConfig)) -> Server {
    let mut config = ServerConfig {
        listen: vec![Listen {
            endpoint: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            protocol: None,
        }],
        memory_bytes: 128 << 20,
        ..ServerConfig::default()
    };
    change(&mut config);
    Server::start(config).expect("a server on a free port")
}

fn address(server: &Server) -> String {
    server.addresses()[0].to_string()
}

fn client(server: &Server) -> Client {
    let mut config = Config::new(address(server));
    config.timeout = Duration::from_secs(20);
    Client::with(config).expect("a thread")
}

#[test]
fn every_operation_is_served() {
    let server = start(|_| {});
    let client = client(&server);
    client.ping().wait().unwrap();
    let minute = Duration::from_secs(60);
    let set = client.set("k", "value").flags(7).ttl(minute).with_meta().wait().unwrap();
    assert!(set.is_done() && set.meta.unwrap().remaining_ms.unwrap() <= 60_000);
    let item = client.get("k").with_meta().wait().unwrap().unwrap();
    assert_eq!(
        (&item.value[..], item.flags, item.token, item.lease),
        (&b"value"[..], 7, set.token, Lease::None)
    );
    assert_eq!(client.set("k", "x").add().wait().unwrap().done, Done::NotStored);
    assert_eq!(client.set("none", "x").replace().wait().unwrap().done, Done::NotStored);
    assert_eq!(client.set("k", "x").compare(1).wait().unwrap().done, Done::TokenMismatch);
    let swapped = client.set("k", "new").compare(set.token).want_old().wait().unwrap();
    assert_eq!(swapped.old.unwrap().value, b"value");
    client.append("k", "er").wait().unwrap();
    client.prepend("k", "even ").wait().unwrap();
    let items = client.get_many(["k", "none", "k"]).wait().unwrap();
    assert_eq!(items[0].as_ref().unwrap().value, b"even newer");
    assert!(items[1].is_none() && items[2].as_ref().unwrap().value == b"even newer");
    assert_eq!(client.touch("k", minute).only_if(TouchIf::Set).wait().unwrap().done, Done::Unchanged);
    assert!(client.get_and_touch("k", minute).wait().unwrap().is_some());
    assert!(client.touch("k", minute * 2).only_if(TouchIf::Later).wait().unwrap().is_done());
    assert_eq!(client.increment("n", 5).wait().unwrap(), None);
    assert_eq!(client.increment("n", 5).initial(37, Expiry::Never).wait().unwrap(), Some(37));
    assert_eq!(client.increment("n", 5).wait().unwrap(), Some(42));
    assert_eq!(client.decrement("n", 50).wait().unwrap(), Some(0));
    assert_eq!(client.add_signed("n", -3).wait().unwrap(), Some(-3));
    assert_eq!(client.add_float("n", 0.5).wait().unwrap(), Some(-2.5));
    let refused = client.increment("n", 1).wait();
    assert!(matches!(refused, Err(Error::Refused { status: Status::NotANumber, .. })), "{refused:?}");
    assert_eq!(client.delete("k").want_old().wait().unwrap().old.unwrap().value, b"even newer");
    assert_eq!(client.delete("k").wait().unwrap().done, Done::Missing);
    let won = client.get("hot").vivify(minute).wait().unwrap().unwrap();
    let given = client.get("hot").vivify(minute).wait().unwrap().unwrap();
    assert_eq!((won.lease, given.lease), (Lease::Won, Lease::Given));
    assert_eq!(client.get("hot").wait().unwrap(), None);
    let figures = client.statistics("figures").wait().unwrap();
    let figure =
        |name: &str| figures.iter().find(|(known, _)| known == name).unwrap().1.parse::<u64>().unwrap();
    assert!(figure("requests") > 20 && figure("hits") > 3 && figure("misses") > 2 && figure("stores") > 3);
    assert!(figure("bytes_used") > 0 && figure("bytes_limit") == 128 << 20);
    client.flush().wait().unwrap();
    assert_eq!(client.get("n").wait().unwrap(), None);
}

#[test]
fn long_values_pass_between_short_ones() {
    let server = start(|_| {});
    let client = client(&server);
    let long: Vec<u8> = (0..10_000_000_u32).map(|byte| (byte / 7) as u8).collect();
    client.set("long", long.clone()).flags(3).wait().unwrap();
    let pending: Vec<_> = (0..4).map(|_| client.get("long").send()).collect();
    client.set("short", "v").wait().unwrap();
    for answer in pending {
        let item = answer.wait().unwrap().unwrap();
        assert!(item.value == long && item.flags == 3);
    }
    let more = client.append("long", "tail").wait().unwrap();
    assert!(more.is_done());
    assert_eq!(client.get("long").with_meta().wait().unwrap().unwrap().meta.unwrap().value_bytes, 10_000_004);
}

#[test]
fn a_client_goes_straight_to_the_shards() {
    let server = start(|config| {
        config.shards = 2;
        config.shard_port_base = Some(0);
    });
    let client = client(&server);
    let keys: Vec<_> = (0..500).map(|number| format!("key{number}")).collect();
    let pending: Vec<_> = keys.iter().map(|key| client.set(key, key.clone()).send()).collect();
    for answer in pending {
        assert!(answer.wait().unwrap().is_done());
    }
    let items = client.get_many(&keys).wait().unwrap();
    assert!(items.iter().zip(&keys).all(|(item, key)| item.as_ref().unwrap().value == key.as_bytes()));
    let map = client.topology().wait().unwrap();
    assert_eq!((map.shards.len(), map.ranges.len()), (2, 2));
    let stats = server.stats();
    assert_eq!(stats.iter().map(|stats| stats.worker.figure("forwarded").unwrap_or(0)).sum::<u64>(), 0);
    client.flush().wait().unwrap();
    assert_eq!(client.get_many(&keys).wait().unwrap().iter().flatten().count(), 0);
}

/// Without ports of their own, the common port forwards.
#[test]
fn the_common_port_serves_every_key_of_several_shards() {
    let server = start(|config| config.shards = 2);
    let client = client(&server);
    let long = vec![7; 3_000_000];
    for number in 0..50 {
        client
            .set(format!("key{number}"), if number % 10 == 0 { long.clone() } else { vec![1] })
            .wait()
            .unwrap();
    }
    for number in 0..50 {
        let item = client.get(format!("key{number}")).wait().unwrap().unwrap();
        assert_eq!(item.value.len(), if number % 10 == 0 { 3_000_000 } else { 1 });
    }
}

/// A connection that speaks frames by hand.
struct Raw(TcpStream, Vec<u8>);

impl Raw {
    fn connect(address: &str, session: u64, boot_id: u64) -> Raw {
        let mut raw = Raw(TcpStream::connect(address).unwrap(), Vec::new());
        raw.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut value = Vec::new();
        Hello { version_min: 1, version_max: 1, features: 0, session, boot_id }.compose(&mut value);
        assert_eq!(raw.ask(Op::Hello, 0, &Options::NONE, b"", &value).0, Status::Ok);
        raw
    }

    /// Status, marks and value of the answer.
    fn ask(
        &mut self,
        op: Op,
        flags: u16,
        options: &Options,
        key: &[u8],
        value: &[u8],
    ) -> (Status, u8, Vec<u8>) {
        let mut bytes = Vec::new();
        compose_request(&mut bytes, op, flags, 1, options, key, value).unwrap();
        self.0.write_all(&bytes).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> (Status, u8, Vec<u8>) {
        loop {
            let parsed = Answer::parse(&self.1, &FrameLimits { value_bytes_max: 1 << 26 });
            assert!(!matches!(parsed, Err(ParseError::Invalid(_))), "{parsed:?}");
            if let Ok((answer, consumed)) = parsed {
                let got = (answer.header.status(), answer.header.marks, answer.value.to_vec());
                self.1.drain(..consumed);
                return got;
            }
            let mut buffer = [0; 65_536];
            let count = match self.0.read(&mut buffer) {
                // A server in the same process lets io_uring interrupt its threads.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            assert!(count > 0, "the server closed");
            self.1.extend_from_slice(&buffer[..count]);
        }
    }
}

/// [N-ONCE-4], [N-ONCE-5], [N-ONCE-6], [N-HELLO-4], on the owner and over the hop to it.
#[test]
fn a_repeated_change_is_done_once() {
    for shards in [1, 2] {
        let server = start(|config| config.shards = shards);
        let mut connections = [
            Raw::connect(&address(&server), 77, 0),
            Raw::connect(&address(&server), 77, 0),
            Raw::connect(&address(&server), 77, 0),
        ];
        let change = |number, repeat| Options { change: Some(Change { number, repeat }), ..Options::NONE };
        for (number, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            let initial = torc_proto::native::Initial { number: 1, expiry: Expiry::Never };
            let first = Options { initial: Some(initial), ..change(number, false) };
            let again = Options { initial: Some(initial), ..change(number, true) };
            let step = 1_u64.to_le_bytes();
            let done = connections[0].ask(Op::Increment, 0, &first, key.as_bytes(), &step);
            assert_eq!(done, (Status::Ok, 0, step.to_vec()));
            for connection in &mut connections {
                assert_eq!(connection.ask(Op::Increment, 0, &again, key.as_bytes(), &step), done);
            }
            let next =
                connections[1].ask(Op::Increment, 0, &change(number + 10, true), key.as_bytes(), &step);
            assert_eq!(next.2, 2_u64.to_le_bytes(), "a repeat of what was never done is done");
        }
        // A long value that comes again is dropped, not kept beside the first.
        let long = vec![1; 1 << 20];
        let flag = torc_proto::native::flags::WANT_OLD;
        let [first, second, _] = &mut connections;
        assert_eq!(first.ask(Op::Set, flag, &change(50, false), b"long", &long).0, Status::Ok);
        for _ in 0..300 {
            let (status, got, value) = second.ask(Op::Set, flag, &change(50, true), b"long", &long);
            assert_eq!((status, got, value.len()), (Status::Ok, marks::OLD_LOST, 0));
        }
        let mut other_boot = Raw::connect(&address(&server), 77, 1);
        assert_eq!(other_boot.ask(Op::Set, 0, &change(1, true), b"a", b"").0, Status::OutcomeUnknown);
    }
}

/// [N-GEN-4]: the server stops reading from who does not read, answers all of it later, and others notice nothing.
#[test]
fn a_client_that_does_not_read_is_not_read_either() {
    let server = start(|_| {});
    let client = client(&server);
    client.set("k", vec![9; 1 << 20]).wait().unwrap();
    let mut raw = Raw::connect(&address(&server), 0, 0);
    let mut get = Vec::new();
    compose_request(&mut get, Op::Get, 0, 5, &Options::NONE, b"k", b"").unwrap();
    let wire: Vec<u8> = get.repeat(2_000_000);
    raw.0.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    // Each of these requests asks for a MiB.
    while sent < wire.len() {
        match raw.0.write(&wire[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < wire.len(), "the server read everything");
    assert_eq!(client.get("none").wait().unwrap(), None);
    for _ in 0..100 {
        let (status, _, value) = raw.answer();
        assert_eq!((status, value.len()), (Status::Ok, 1 << 20));
    }
}

/// [N-EXT-6]: also when the time passes behind answers that the client does not take.
#[test]
fn a_request_that_waited_past_its_deadline_is_not_executed() {
    const COUNT: usize = 400;
    let server = start(|config| config.output_bytes_max = 64 << 10);
    let client = client(&server);
    client.set("k", vec![9; 60_000]).wait().unwrap();
    let soon = Options { deadline_us: Some(500_000), ..Options::NONE };
    let mut wire = Vec::new();
    // All in one receive buffer, and more answers than the kernel's buffers take.
    for _ in 0..COUNT {
        compose_request(&mut wire, Op::Get, 0, 5, &soon, b"k", b"").unwrap();
    }
    compose_request(&mut wire, Op::Set, 0, 5, &soon, b"late", b"v").unwrap();
    assert!(wire.len() < 16 << 10);
    let mut raw = Raw::connect(&address(&server), 0, 0);
    raw.0.write_all(&wire).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let statuses: Vec<Status> = (0..=COUNT).map(|_| raw.answer().0).collect();
    let in_time = statuses.iter().take_while(|status| **status == Status::Ok).count();
    assert!(in_time > 0, "the first are answered at once");
    assert!(statuses[in_time..].iter().all(|status| *status == Status::DeadlineExceeded), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&Status::DeadlineExceeded));
    assert_eq!(client.get("late").wait().unwrap(), None);
}

#[test]
fn a_restarted_server_is_found_out() {
    let server = start(|_| {});
    let at = address(&server);
    let client = client(&server);
    client.set("k", "v").wait().unwrap();
    drop(server);
    let socket: SocketAddr = at.parse().unwrap();
    let server = start(|config| config.listen[0].endpoint = Endpoint::Tcp(socket));
    assert_eq!(client.get("k").wait().unwrap(), None);
    assert!(client.set("k", "v").wait().unwrap().is_done());
    drop(server);
}
