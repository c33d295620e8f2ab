//! Values of every length, both ways.

use crate::wire::{Devices, Wire, local, pattern, start};
use torc_proto::native::{Op, Status};

const LENGTHS: [usize; 16] =
    [0, 1, 63, 64, 191, 193, 4000, 4096, 4097, 8191, 16_000, 16_384, 65_536, 100_001, 1 << 20, (5 << 20) + 3];

pub(crate) fn values_of_every_length_come_back(devices: &Devices) {
    let (server, local) = (start(devices, |_| {}), local(devices));
    let mut wire = Wire::new(&server, &local);
    for (round, len) in LENGTHS.into_iter().chain(LENGTHS.into_iter().rev()).enumerate() {
        let value = pattern(len, round);
        let id = wire.ask(Op::Set, b"key", &value);
        assert_eq!(wire.answer(), (id, Status::Ok as u8, Vec::new()), "SET of {len} bytes");
        let id = wire.ask(Op::Get, b"key", b"");
        let (told, status, got) = wire.answer();
        assert_eq!((told, status, got.len()), (id, Status::Ok as u8, len));
        assert!(got == value, "GET of {len} bytes gave others");
    }
    assert!(wire.broken().is_none());
}

pub(crate) fn requests_are_pipelined(devices: &Devices) {
    let (server, local) = (start(devices, |_| {}), local(devices));
    let mut wire = Wire::new(&server, &local);
    const COUNT: usize = 2000;
    for number in 0..COUNT {
        let value = pattern(LENGTHS[number % 10], number);
        wire.ask(Op::Set, format!("key:{}", number % 50).as_bytes(), &value);
        wire.ask(Op::Get, format!("key:{}", number % 50).as_bytes(), b"");
    }
    for number in 0..COUNT {
        let (_, status, _) = wire.answer();
        assert_eq!(status, Status::Ok as u8);
        let (id, status, value) = wire.answer();
        assert_eq!((id, status), (2 * number as u32 + 2, Status::Ok as u8));
        assert!(value == pattern(LENGTHS[number % 10], number), "the value of {number}");
    }
}

pub(crate) fn many_clients_at_once(devices: &Devices) {
    let server = start(devices, |config| config.shards = 2);
    let local = local(devices);
    let mut wires: Vec<Wire> = (0..6).map(|_| Wire::new(&server, &local)).collect();
    for round in 0..30 {
        for (number, wire) in wires.iter_mut().enumerate() {
            let value = pattern(LENGTHS[(round + number) % 14], round + number);
            wire.ask(Op::Set, format!("key:{number}").as_bytes(), &value);
            wire.ask(Op::Get, format!("key:{number}").as_bytes(), b"");
        }
        for (number, wire) in wires.iter_mut().enumerate() {
            let (mut answers, want) = (Vec::new(), pattern(LENGTHS[(round + number) % 14], round + number));
            answers.push(wire.answer());
            answers.push(wire.answer());
            answers.sort_by_key(|(id, ..)| *id);
            assert_eq!(answers[0].1, Status::Ok as u8);
            assert!(answers[1].2 == want, "client {number}, round {round}");
        }
    }
}
