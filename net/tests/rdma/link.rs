//! A link that goes down under load, for a moment and for long, and a device that is taken away.

use crate::load::Checked;
use crate::wire::{Devices, Wire, address, local, nothing_is_left, pattern, sample, start, sum};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use torc_net::server::Server;

/// What the script does at one end of the wire.
pub(crate) fn wire_script(action: &str, end: &str) -> Command {
    let script = std::env::var("TORC_TEST_RDMA_WIRE").expect("a script beside the devices");
    let mut command = Command::new("bash");
    command.args([script.as_str(), action, end]);
    command
}

pub(crate) fn at_wire(action: &str, end: &str) {
    let status = wire_script(action, end).status().expect("bash");
    assert!(status.success(), "{action} {end}: {status}");
}

/// As clients have it that know nothing of RDMA.
pub(crate) fn serves_over_tcp(server: &Server) {
    let mut socket = TcpStream::connect(address(server)).expect("it accepts");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("it can");
    socket.write_all(b"PING\r\n").expect("sent");
    let mut answer = [0; 7];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+PONG\r\n");
}

/// Has threads end, also when what goes on beside them panics.
pub(crate) struct StopAtEnd<'s>(pub(crate) &'s AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections under load until they break; why each did.
fn loaded<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    wires: Vec<Wire>,
    stop: &'s AtomicBool,
) -> Vec<std::thread::ScopedJoinHandle<'s, Option<String>>> {
    let threads = wires.into_iter().enumerate().map(|(number, mut wire)| {
        scope.spawn(move || {
            let mut checked = Checked::new(&mut wire, number, usize::MAX);
            while !stop.load(Ordering::Relaxed) {
                if let Err(why) = checked.go_on() {
                    return Some(why);
                }
            }
            None
        })
    });
    threads.collect()
}

/// A client can pair anew, and what it sets comes back.
fn works_anew(server: &Server, devices: &Devices) {
    let since = Instant::now();
    loop {
        let mut wire = match Wire::at(address(server), &local(devices)) {
            Ok(wire) => wire,
            Err(why) => {
                assert!(since.elapsed() < Duration::from_secs(30), "no pair: {why}");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let value = pattern(50_000, 3);
        wire.set(b"anew", &value);
        assert!(wire.get(b"anew") == value);
        return;
    }
}

pub(crate) fn a_link_that_goes_down_for_a_moment_hangs_nobody(devices: &Devices) {
    let server = start(devices, |config| {
        config.shards = 2;
        // A queue pair that has lost what would tell of its end is found by its silence.
        config.tcp_keepalive = Some(Duration::from_secs(2));
        config.tcp_user_timeout = Some(Duration::from_secs(3));
    });
    for down_ms in [100, 2500] {
        let local = local(devices);
        let wires: Vec<Wire> = (0..3).map(|_| Wire::new(&server, &local)).collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads = loaded(scope, wires, &stop);
            let stops = StopAtEnd(&stop);
            std::thread::sleep(Duration::from_millis(200));
            at_wire("down", "a");
            std::thread::sleep(Duration::from_millis(down_ms));
            serves_over_tcp(&server);
            at_wire("up", "a");
            std::thread::sleep(Duration::from_millis(500));
            drop(stops);
            for thread in threads {
                let why = thread.join().expect("no value was wrong, and nobody hung");
                println!("down for {down_ms} ms: {}", why.as_deref().unwrap_or("went on"));
                assert!(down_ms < 2000 || why.is_some(), "it cannot have gone on");
            }
        });
        nothing_is_left(&server);
        works_anew(&server, devices);
        nothing_is_left(&server);
    }
    let causes = ["no_answer", "pair", "link"].map(|cause| sample(&server, "rdma_failures", cause));
    println!("failures by no_answer, pair, link: {causes:?}");
    assert_eq!(sum(&server, |stats| stats.pairs_failed()), causes.iter().sum::<u64>(), "for other causes");
}

pub(crate) fn a_device_whose_link_stays_down_is_given_up_and_used_again(devices: &Devices) {
    let server = start(devices, |config| {
        config.shards = 2;
        config.rdma.down_timeout = Duration::from_secs(1);
    });
    let local_device = local(devices);
    // These do nothing, so nothing but the device tells of it.
    let wires: Vec<Wire> = (0..2).map(|_| Wire::new(&server, &local_device)).collect();
    at_wire("down", "a");
    let down = Instant::now();
    for mut wire in wires {
        println!("{:?} after the link went down: {}", down.elapsed(), wire.end());
    }
    assert!(down.elapsed() < Duration::from_secs(10), "{:?}", down.elapsed());
    nothing_is_left(&server);
    assert!(sample(&server, "rdma_failures", "link") >= 2);
    serves_over_tcp(&server);
    at_wire("up", "a");
    works_anew(&server, devices);
    nothing_is_left(&server);
}

/// Waits until the script has ended.
fn ends_soon(mut script: Child) {
    let since = Instant::now();
    let status = loop {
        if let Some(status) = script.try_wait().expect("a child") {
            break status;
        }
        if since.elapsed() > Duration::from_secs(30) {
            let _ = script.kill();
            panic!("the device is held by somebody");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
}

pub(crate) fn a_removed_device_is_let_go_and_used_again(devices: &Devices) {
    let server = start(devices, |config| {
        config.shards = 2;
        config.rdma.down_timeout = Duration::from_millis(500);
    });
    for round in 0..2 {
        let device = local(devices);
        let wires: Vec<Wire> = (0..2).map(|_| Wire::new(&server, &device)).collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads = loaded(scope, wires, &stop);
            let stops = StopAtEnd(&stop);
            std::thread::sleep(Duration::from_millis(200));
            at_wire("down", "a");
            ends_soon(wire_script("remove", "a").spawn().expect("bash"));
            drop(stops);
            for thread in threads {
                let why = thread.join().expect("no value was wrong, and nobody hung");
                println!("round {round}: {}", why.expect("it cannot have gone on"));
            }
        });
        drop(device);
        nothing_is_left(&server);
        serves_over_tcp(&server);
        at_wire("up", "a");
        at_wire("add", "a");
        works_anew(&server, devices);
    }
}
