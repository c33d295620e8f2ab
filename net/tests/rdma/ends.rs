//! How connections end, and how they idle.

use crate::load::Checked;
use crate::wire::{Devices, Wire, local, nothing_is_left, pattern, start, sum, wait_until};
use std::time::{Duration, Instant};
use torc_net::transport::choice::TransportChoice;
use torc_proto::native::{Op, Options, Status};

/// What was done is told: messages that the queue pair has not delivered yet must not go with it.
pub(crate) fn answers_that_are_due_come_before_a_drain_ends_the_connection(devices: &Devices) {
    let local = local(devices);
    for round in 0..6 {
        let server = start(devices, |_| {});
        let mut wire = Wire::new(&server, &local);
        let value = pattern(3000, round);
        wire.set(b"key", &value);
        let before = sum(&server, |stats| stats.requests_total());
        for _ in 0..8 {
            wire.try_ask(Op::Get, &Options::NONE, b"key", b"").expect("it goes on");
        }
        std::thread::sleep(Duration::from_micros(300 * round as u64));
        server.drain();
        let mut answers = 0;
        while let Ok((_, status, got)) = wire.try_answer() {
            assert_eq!((status, got == value), (Status::Ok as u8, true));
            answers += 1;
        }
        server.join().expect("it ends");
        let done = sum(&server, |stats| stats.requests_total()) - before;
        assert_eq!(answers, done, "round {round}: answers that came, and requests that were done");
    }
}

/// Processor time of the threads whose names begin so, in ticks of the kernel.
fn ticks_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let ticks = |task: std::path::PathBuf| {
        let stat = std::fs::read_to_string(task.join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let is_it = head.split_once('(')?.1.starts_with(name);
        is_it.then(|| fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0))
    };
    tasks.flatten().filter_map(|task| ticks(task.path())).sum()
}

pub(crate) fn a_shard_with_idle_connections_sleeps(devices: &Devices) {
    const IDLE: Duration = Duration::from_secs(3);
    let local = local(devices);
    for transport in [TransportChoice::Epoll, TransportChoice::Auto] {
        let server = start(devices, |config| (config.transport, config.shards) = (transport, 2));
        let mut wires = [Wire::new(&server, &local), Wire::new(&server, &local)];
        for round in 0..3 {
            for (number, wire) in wires.iter_mut().enumerate() {
                wire.set(b"key", &pattern(20_000, round + number));
            }
            std::thread::sleep(Duration::from_millis(300));
            let (turns, ticks) = (server.turns(), ticks_of("torc-shard"));
            let since = Instant::now();
            std::thread::sleep(IDLE);
            let (turns, ticks) = (server.turns() - turns, ticks_of("torc-shard") - ticks);
            println!(
                "{}: {turns} turns and {ticks} ticks in {:?}",
                server.transport().name(),
                since.elapsed()
            );
            assert!(turns < 200 && ticks < 30, "{turns} turns, {ticks} ticks of 10 ms");
            // And they wake.
            let asked = Instant::now();
            assert!(wires[0].get(b"key") == pattern(20_000, round + 1));
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        }
    }
}

/// Receives, room and queue pairs of clients that leave at the worst of moments are there for the next.
pub(crate) fn memory_comes_back_however_connections_end(devices: &Devices) {
    let server = start(devices, |config| config.rdma.clients_max = 2);
    let local = local(devices);
    let mut keeper = Wire::new(&server, &local);
    let value = pattern(3 << 20, 1);
    keeper.set(b"long", &value);
    for round in 0..24 {
        let mut wire = Wire::new(&server, &local);
        match round % 4 {
            0 => {}
            // In the midst of an answer.
            1 => {
                wire.ask(Op::Get, b"long", b"");
            }
            // In the midst of a request.
            2 => {
                let request = crate::wire::request(Op::Set, 1, &Options::NONE, b"other", &value);
                wire.write_blindly(&request[..100_000 * (round + 1)], Duration::from_millis(20)).expect("up");
            }
            // With many short requests under way.
            _ => (0..14).for_each(|_| _ = wire.ask(Op::Get, b"none", &[])),
        }
        drop(wire);
        wait_until("it is gone", || sum(&server, |stats| stats.pairs.read()) == 1);
    }
    // As many receives as two clients have credits for are there yet.
    let mut other = Wire::new(&server, &local);
    for number in 0..3 {
        let mut all = [Checked::new(&mut keeper, number, 40), Checked::new(&mut other, number + 3, 40)];
        for _ in 0..5 {
            all.iter_mut().for_each(|checked| checked.go_on().expect("it goes on"));
        }
    }
    drop((keeper, other));
    nothing_is_left(&server);
}
