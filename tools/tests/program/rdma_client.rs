//! The built `torc` and the client library over RDMA. `TORC_TEST_RDMA=a,b` names two devices on one wire, the server's and the
//! client's, and `TORC_TEST_RDMA_WIRE` a script that cuts it (a guest has both, see `docs/testing.md`); tests that need them say that
//! they are skipped.

use crate::harness::{PATIENCE, Server, finish, stderr_of, torc};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use torc_client::{Client, Config, Error, Expiry, Transport};

#[test]
fn who_insists_on_rdma_hears_why_there_is_none() {
    let server = Server::start(&["--rdma=off"]);
    let address = server.address().to_string();
    let asks: [&[&str]; 2] = [
        &["cli", "--timeout=1", "--rdma", "--server", &address, "get", "key"],
        &["bench", "--transport=rdma", "--protocol=native", "--server", &address],
    ];
    for ask in asks {
        let output = finish(torc().args(ask));
        assert!(!output.status.success() && stderr_of(&output).contains("RDMA"), "{}", stderr_of(&output));
    }
    // Who does not, is served; that of the server which has none is no failure.
    let output =
        finish(torc().args(["cli", "--show-transport", "--server", &address, "set", "key", "value"]));
    assert!(output.status.success() && stderr_of(&output) == "over a socket\n", "{}", stderr_of(&output));
}

#[test]
fn resp_does_not_go_over_it_and_says_so() {
    for ask in
        [&["cli", "--rdma", "-p", "resp", "PING"][..], &["cli", "--transport=rdma", "-p", "resp", "PING"]]
    {
        let output = finish(torc().args(ask));
        assert!(
            stderr_of(&output).contains("RDMA carries the native protocol alone"),
            "{}",
            stderr_of(&output)
        );
    }
}

mod over_real_devices {
    use super::*;

    struct Wire {
        server: String,
        client: String,
        script: Option<String>,
    }

    impl Wire {
        fn find(test: &str) -> Option<Wire> {
            let Ok(names) = std::env::var("TORC_TEST_RDMA") else {
                eprintln!("{test}: SKIPPED, as TORC_TEST_RDMA names no devices");
                return None;
            };
            let (server, client) = names.split_once(',').expect("two names with a comma");
            let script = std::env::var("TORC_TEST_RDMA_WIRE").ok();
            Some(Wire { server: server.into(), client: client.into(), script })
        }

        fn serve(&self, more: &[&str]) -> Server {
            let device = format!("--rdma-device={}", self.server);
            Server::start(&[&["--rdma=require", &device, "--rdma-clients=8"], more].concat())
        }

        fn client(&self, server: &Server) -> Client {
            let mut config = Config::new(server.address().to_string());
            config.timeout = PATIENCE;
            config.rdma.device = Some(self.client.clone());
            config.rdma.connect_timeout = Duration::from_secs(5);
            (config.rdma.retry_min, config.rdma.retry_max) =
                (Duration::from_millis(100), Duration::from_secs(1));
            Client::with(config).expect("a thread")
        }

        /// `up`, `down`: the client's end.
        fn set(&self, what: &str) {
            let script = self.script.as_ref().expect("looked for before");
            let status = Command::new("bash").args([script, what, "b"]).status();
            assert!(status.expect("bash").success(), "{what}");
        }
    }

    impl Drop for Wire {
        /// The next test needs it whole, whatever came of this one.
        fn drop(&mut self) {
            if self.script.is_some() && std::thread::panicking() {
                self.set("up");
            }
        }
    }

    fn counted(client: &Client, key: &str) -> Result<Option<u64>, Error> {
        client.increment(key, 1).initial(1, Expiry::Never).wait()
    }

    /// Until requests are carried by that.
    fn wait_for(client: &Client, transport: Transport) {
        let start = Instant::now();
        while client.transport() != Some(transport) {
            assert!(start.elapsed() < PATIENCE, "{transport:?} does not carry: {:?}", client.rdma());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn value(bytes: usize, seed: u8) -> Vec<u8> {
        (0..bytes).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    }

    #[test]
    fn values_of_all_lengths_come_and_go_whole() {
        let Some(wire) = Wire::find("values_of_all_lengths_come_and_go_whole") else { return };
        for transport in ["--transport=auto", "--transport=epoll"] {
            let server = wire.serve(&["--shards=2", transport]);
            let client = wire.client(&server);
            for (seed, bytes) in [0, 1, 100, 4000, 20_000, 1 << 20, 3 << 20].into_iter().enumerate() {
                let (key, value) = (format!("key-{seed}"), value(bytes, seed as u8));
                client.set(&key, value.clone()).wait().expect("stored");
                assert!(client.get(&key).wait().expect("found").expect("an item").value == value, "{bytes}");
            }
            let told = client.rdma();
            assert_eq!(
                (client.transport(), &told.fallbacks[..]),
                (Some(Transport::Rdma), &[][..]),
                "{told:?}"
            );
            assert!(told.connections >= 2, "{told:?}");
        }
    }

    #[test]
    fn cli_and_bench_go_over_it() {
        let Some(wire) = Wire::find("cli_and_bench_go_over_it") else { return };
        let server = wire.serve(&[]);
        let address = server.address().to_string();
        let device = format!("--rdma-device={}", wire.client);
        for by in ["--rdma", "--transport=auto"] {
            let mut cli = torc();
            cli.args(["cli", "--show-transport", by, &device, "--server", &address, "set", "key", "value"]);
            let output = finish(&mut cli);
            assert!(output.status.success() && stderr_of(&output) == "over RDMA\n", "{}", stderr_of(&output));
        }
        let small = ["--keys=500", "--requests=2000"];
        let long = ["--keys=4", "--value-size=1048576", "--requests=24", "--depth=2", "--window"];
        let loads: [(&[&str], &[&str]); 4] =
            [(&small, &[]), (&small, &["--depth=4", "--window"]), (&small, &["--rate=500"]), (&long, &[])];
        for (load, pace) in loads {
            let mut bench = torc();
            bench.args(["bench", "--protocol=native", "--transport=rdma", &device, "--server", &address]);
            bench.args(["--preload", "--connections=2", "--warmup=0"]).args(load).args(pace);
            let output = finish(&mut bench);
            assert!(output.status.success(), "{load:?} {pace:?}: {}", stderr_of(&output));
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains(" 0 misses") && text.contains(" 0 refused"), "{text}");
        }
    }

    /// Ends threads when it is dropped, in a test that has failed, too.
    struct Ends<'f>(&'f AtomicBool);

    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Counters are right and nobody sees an error while the link goes down, TCP serves, and the link is up again.
    #[test]
    fn a_link_that_goes_down_is_not_noticed() {
        let Some(wire) = Wire::find("a_link_that_goes_down_is_not_noticed") else { return };
        if wire.script.is_none() {
            eprintln!("a_link_that_goes_down_is_not_noticed: SKIPPED, as nothing cuts the wire");
            return;
        }
        let server = wire.serve(&["--shards=2"]);
        let client = wire.client(&server);
        let over = AtomicBool::new(false);
        let counts = std::thread::scope(|scope| {
            let ends = Ends(&over);
            let count = |key: &'static str| {
                let (client, over) = (&client, &over);
                scope.spawn(move || {
                    for count in 1.. {
                        assert_eq!(counted(client, key).expect("an answer"), Some(count), "{key}");
                        if over.load(Ordering::Relaxed) {
                            return count;
                        }
                    }
                    0
                })
            };
            let threads = ["a", "b", "c", "d"].map(count);
            wait_for(&client, Transport::Rdma);
            for _ in 0..2 {
                wire.set("down");
                wait_for(&client, Transport::Socket);
                client.set("long", value(1 << 20, 7)).wait().expect("TCP serves");
                wire.set("up");
                wait_for(&client, Transport::Rdma);
                let long = client.get("long").wait().expect("RDMA serves").expect("an item");
                assert!(long.value == value(1 << 20, 7));
            }
            drop(ends);
            threads.map(|thread| thread.join().expect("no count was wrong"))
        });
        assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
        let told = client.rdma();
        assert!(told.moves >= 3 && told.fallbacks.iter().any(|(_, count)| *count > 0), "{told:?}");
    }

    #[test]
    fn a_server_that_is_killed_and_comes_back_is_gone_back_to() {
        let Some(wire) = Wire::find("a_server_that_is_killed_and_comes_back_is_gone_back_to") else { return };
        let first = wire.serve(&[]);
        let listen = format!("--listen={}", first.address());
        let client = wire.client(&first);
        client.set("key", "value").wait().expect("stored");
        wait_for(&client, Transport::Rdma);
        drop(first);
        let _second = wire.serve(&[&listen]);
        // Once nobody knows what became of it, at most.
        for _ in 0..100 {
            match counted(&client, "count") {
                Ok(_) | Err(Error::OutcomeUnknown) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(client.get("key").wait().expect("an answer"), None);
        wait_for(&client, Transport::Rdma);
    }
}
