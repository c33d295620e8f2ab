//! A side that is gone: a client's process that is killed at any moment, a server that ends under load.

use super::client::*;
use super::servers::*;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use torc_net::server::ServerConfig;
use torc_proto::native::Op;

const RING: usize = 16 << 10;
/// Names the socket to the process that is killed: this test once more.
const VARIABLE: &str = "TORC_TEST_SHM_CHILD";

/// What the child does: asks and asks, many at a time, until it is killed.
#[test]
fn child_of_the_test_below() {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let mut client = Client::connect(&path);
    client.set(b"key", &[7; 3_000]);
    println!("begun");
    loop {
        let many: Vec<u32> = (0..20).map(|_| client.send(Op::Get, b"key", b"")).collect();
        client.send(Op::Set, b"own", &[1; 9_000]);
        many.iter().for_each(|_| drop(client.receive()));
        client.receive();
    }
}

/// [N-SHM-10]
#[test]
fn a_client_that_is_killed_at_any_moment_leaves_nothing() {
    const KILLS: u64 = 6;
    on_each(RING, |server, path| {
        let mut good = Client::connect(path);
        for kill in 0..KILLS {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "deaths::child_of_the_test_below", "--nocapture"])
                .env(VARIABLE, path)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            wait_until("the child is there", || sum(server, |stats| stats.rings.read()) == 2);
            // A moment that is another one each time.
            std::thread::sleep(Duration::from_micros(500 + 1_700 * kill));
            good.set(b"good", b"value");
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
            let killed = Instant::now();
            wait_until("it is gone", || sum(server, |stats| stats.rings.read()) == 1);
            assert!(killed.elapsed() < Duration::from_secs(10));
            assert_eq!(good.get(b"good"), b"value");
        }
        // A connection is counted a moment longer than its rings.
        wait_until("one client is left", || sum(server, |stats| stats.connections.read()) == 1);
        assert_eq!(sum(server, |stats| stats.rings_broken()), 0);
    });
}

#[test]
fn clients_notice_at_once_that_the_server_is_gone() {
    let patient = |config: &mut ServerConfig| {
        shares(config, RING);
        config.drain_timeout = PATIENCE;
    };
    on_each_with(patient, |server, path| {
        let clients: Vec<_> = (0..4)
            .map(|number: u32| {
                let path = path.to_owned();
                std::thread::spawn(move || {
                    let mut client = Client::connect(&path);
                    // Some ask all the time, others sleep.
                    let mut goes_on = || {
                        if number.is_multiple_of(2) {
                            client.send(Op::Ping, b"", b"x");
                            client.try_receive().is_some()
                        } else {
                            client.wait(false)
                        }
                    };
                    while goes_on() {}
                })
            })
            .collect();
        wait_until("all are there", || sum(server, |stats| stats.rings.read()) == 4);
        std::thread::sleep(Duration::from_millis(50));
        server.drain();
        let ended = Instant::now();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(ended.elapsed() < PATIENCE / 2, "they waited for the end of the drain");
    });
}
