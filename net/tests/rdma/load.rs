//! Several connections at once, with every value checked, on a good path and on one that loses packets.

use crate::wire::{Devices, Wire, local, nothing_is_left, pattern, start, sum};
use std::process::Command;
use std::time::Instant;
use torc_proto::native::{Op, Options, Status};

/// Up to some parts of a landing, and beyond what is lent at a time.
const LENGTHS: [usize; 8] = [10, 100, 1000, 4000, 9000, 20_000, 100_000, 600_000];
/// Requests of a connection that wait for answers.
const DEPTH: usize = 4;

/// Sets and gets of keys of its own for a while, checked.
pub(crate) struct Checked<'w> {
    wire: &'w mut Wire,
    number: usize,
    round: usize,
    rounds: usize,
}

impl<'w> Checked<'w> {
    pub(crate) fn new(wire: &'w mut Wire, number: usize, rounds: usize) -> Checked<'w> {
        Checked { wire, number, round: 0, rounds }
    }

    fn value(&self, round: usize) -> Vec<u8> {
        pattern(LENGTHS[(round + self.number) % LENGTHS.len()], round * 10 + self.number)
    }

    fn key(&self, round: usize) -> Vec<u8> {
        format!("key:{}:{}", self.number, round % 20).into_bytes()
    }

    /// Some sets and the gets behind them, pipelined; answers of several shards come in any order.
    pub(crate) fn go_on(&mut self) -> Result<(), String> {
        let rounds = self.round..(self.round + DEPTH).min(self.rounds);
        let mut wanted = Vec::new();
        for round in rounds.clone() {
            let (key, value) = (self.key(round), self.value(round));
            wanted.push((self.wire.try_ask(Op::Set, &Options::NONE, &key, &value)?, Vec::new()));
            wanted.push((self.wire.try_ask(Op::Get, &Options::NONE, &key, b"")?, value));
        }
        while !wanted.is_empty() {
            let (id, status, value) = self.wire.try_answer()?;
            let place =
                wanted.iter().position(|(known, _)| *known == id).expect("an answer to what was asked");
            assert_eq!(status, Status::Ok as u8, "connection {}, rounds {rounds:?}", self.number);
            assert!(value == wanted.remove(place).1, "connection {}, rounds {rounds:?}", self.number);
        }
        self.round = rounds.end;
        Ok(())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.round >= self.rounds
    }
}

/// Each connection on a thread of its own, until all rounds are done.
fn run(devices: &Devices, shards: u16, connections: usize, rounds: usize) {
    let server = start(devices, |config| config.shards = shards);
    let local = local(devices);
    let wires: Vec<Wire> = (0..connections).map(|_| Wire::new(&server, &local)).collect();
    let since = Instant::now();
    std::thread::scope(|scope| {
        for (number, mut wire) in wires.into_iter().enumerate() {
            scope.spawn(move || {
                let mut checked = Checked::new(&mut wire, number, rounds);
                while !checked.is_done() {
                    checked.go_on().expect("nothing breaks");
                }
            });
        }
    });
    println!("{shards} shards, {connections} connections, {rounds} rounds: {:?}", since.elapsed());
    assert_eq!(sum(&server, |stats| stats.pairs_failed()), 0);
    nothing_is_left(&server);
}

pub(crate) fn every_value_is_right_under_load(devices: &Devices) {
    run(devices, 1, 4, 60);
    run(devices, 2, 4, 60);
}

/// A rule of the kernel's for packets that leave by the server's end, as long as this lives.
struct Netem;

impl Netem {
    fn new(rule: &[&str]) -> Netem {
        tc("add", rule);
        Netem
    }
}

impl Drop for Netem {
    fn drop(&mut self) {
        tc("del", &[]);
    }
}

fn tc(action: &str, rule: &[&str]) {
    let mut command = Command::new("tc");
    command.args(["qdisc", action, "dev", "veth_a", "root", "netem"]).args(rule);
    let status = command.status().expect("tc, of iproute2");
    assert!(status.success(), "{command:?}: {status}");
}

pub(crate) fn every_value_is_right_when_packets_are_lost(devices: &Devices) {
    let _lossy = Netem::new(&["loss", "5%"]);
    run(devices, 2, 3, 24);
}
