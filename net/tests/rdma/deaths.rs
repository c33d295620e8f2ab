//! A side that is gone: its process was killed.

use crate::wire::{
    Devices, PATIENCE, Wire, address, devices, local, nothing_is_left, pattern, start, sum, wait_until,
};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use torc_proto::native::{Op, Options};

/// Tells a process of this program what to be: `server`, or the address that a client goes to.
pub(crate) const CHILD: &str = "TORC_TEST_RDMA_CHILD";

const LONG: usize = 4 << 20;

pub(crate) fn child(what: &str) {
    let devices = devices().expect("the parent has them");
    if what == "server" {
        let server = start(&devices, |_| {});
        println!("address {}", address(&server));
        std::thread::sleep(2 * PATIENCE);
        return;
    }
    let server: SocketAddr = what.parse().expect("an address");
    let local = local(&devices);
    let mut wires: Vec<Wire> = (0..2).map(|_| Wire::at(server, &local).expect("a connection")).collect();
    println!("address -");
    // Long values both ways, and more that was asked for, all of the time.
    let value = pattern(LONG, 3);
    loop {
        for wire in &mut wires {
            wire.ask(Op::Set, b"long", &value);
            wire.ask(Op::Get, b"long", b"");
            wire.ask(Op::Get, b"long", b"");
        }
        for wire in &mut wires {
            (0..3).for_each(|_| drop(wire.answer()));
        }
    }
}

/// This program once more, when it has begun; what it told.
fn spawn(what: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, what)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let told = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("address ").map(|(_, told)| told.to_owned()));
    let Some(told) = told else {
        // It has said why, and must not outlive this test.
        let _ = child.kill();
        panic!("the child ended: {:?}", child.wait());
    };
    (child, told)
}

pub(crate) fn a_client_that_is_killed_leaves_nothing(devices: &Devices) {
    let (server, local) = (start(devices, |_| {}), local(devices));
    let mut good = Wire::new(&server, &local);
    for kill in 0..4 {
        let (mut child, _) = spawn(&address(&server).to_string());
        // A moment that is another one each time.
        std::thread::sleep(Duration::from_millis(100 + 130 * kill));
        good.set(b"good", &pattern(20_000, kill as usize));
        child.kill().expect("it is there");
        child.wait().expect("it was killed");
        let killed = Instant::now();
        assert!(good.get(b"good") == pattern(20_000, kill as usize));
        wait_until("it is gone", || sum(&server, |stats| stats.pairs.read()) == 1);
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    }
    drop(good);
    nothing_is_left(&server);
}

pub(crate) fn clients_learn_soon_that_the_server_is_gone(devices: &Devices) {
    let local = local(devices);
    let (mut child, told) = spawn("server");
    let server: SocketAddr = told.parse().expect("an address");
    let mut wires: Vec<Wire> = (0..3).map(|_| Wire::at(server, &local).expect("a connection")).collect();
    wires[0].set(b"long", &pattern(LONG, 1));
    // One waits for nothing, one for an answer, one is in the midst of a request.
    wires[1].ask(Op::Get, b"long", b"");
    let request = crate::wire::request(Op::Set, 9, &Options::NONE, b"other", &pattern(LONG, 2));
    wires[2].write_blindly(&request[..LONG / 2], Duration::from_millis(10)).expect("it is there");
    child.kill().expect("it is there");
    child.wait().expect("it was killed");
    let killed = Instant::now();
    for wire in &mut wires {
        let why = wire.end();
        println!("{:?} after the end of the server: {why}", killed.elapsed());
    }
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}
