//! Reads of a shard's memory by the client itself.

use crate::wire::{Devices, PATIENCE, Wire, local, pattern, start};
use std::time::Instant;
use torc_proto::native::{Op, Status};
use torc_rdma::connect::first;
use torc_rdma::reads::{Look, ReadEnd, Value};
use torc_rdma::verbs::device::Device;

/// The value of a key, if it was found without asking.
pub(crate) fn get(end: &mut ReadEnd<Device>, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let look = end.get(0, key, |look| match look {
        Look::Hit { found, .. } => match found.value {
            Value::Inline(bytes) => Some(bytes.to_vec()),
            Value::Chained(_) => panic!("a reader copies no chain"),
        },
        Look::Miss | Look::Expired | Look::Flushed => None,
    });
    look.map_err(|doubt| doubt.name().to_owned())
}

/// As [`get`], asking the server in doubt, and for what may be read, until it can be told.
pub(crate) fn get_at_last(wire: &mut Wire, end: &mut ReadEnd<Device>, key: &[u8]) -> Option<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match get(end, key) {
            Ok(found) => return found,
            Err(doubt) => assert!(Instant::now() < until, "in doubt for ever: {doubt}"),
        }
        // Who asks is told, and the first that asks makes an item one that others may read.
        wire.ask(Op::Get, key, b"");
        wire.answer();
        if Instant::now() >= end.asks_at() {
            wire.ask_reads(end);
        }
    }
}

pub(crate) fn what_is_written_is_read_without_asking(devices: &Devices) {
    let server = start(devices, |config| config.rdma.reads = true);
    let local = local(devices);
    let mut wire = Wire::new(&server, &local);
    let mut end = ReadEnd::new(&local.device, &local.domain, &local.place, first()).expect("an end");
    wire.ask_reads(&mut end);
    for round in 0..50 {
        for number in 0..20 {
            let (key, value) = (format!("key:{number}"), pattern(37 * number, round));
            wire.ask(Op::Set, key.as_bytes(), &value);
            assert_eq!(wire.answer().1, Status::Ok as u8);
            let found = get_at_last(&mut wire, &mut end, key.as_bytes());
            assert!(found.as_ref() == Some(&value), "{key} in round {round}");
        }
        assert_eq!(get_at_last(&mut wire, &mut end, b"none"), None);
        wire.ask(Op::Delete, b"key:3", b"");
        assert_eq!(wire.answer().1, Status::Ok as u8);
        assert_eq!(get_at_last(&mut wire, &mut end, b"key:3"), None);
    }
    let counts = end.counts();
    assert!(counts.looks.hits >= 1000 && counts.looks.misses >= 100, "{counts:?}");
    println!("{counts:?}");
}
