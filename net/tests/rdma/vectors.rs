//! The wire vectors of the native protocol: what they ask is answered over RDMA as it is over TCP.

use crate::native::{Case, cases};
use crate::wire::{Devices, PATIENCE, Wire, address, local, nothing_is_left, read, request, start};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use torc_proto::native::{Answer, FrameLimits, MAGIC, Op, Options, ParseError};

/// Answers are equal but for what differs from time to time: tokens, expiry times.
#[derive(Debug, PartialEq)]
struct Told {
    op: u8,
    status: u8,
    marks: u8,
    id: u32,
    extensions: usize,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// All answers in these bytes.
fn told(mut bytes: &[u8]) -> Vec<Told> {
    let mut all = Vec::new();
    loop {
        match Answer::parse(bytes, &FrameLimits { value_bytes_max: u32::MAX }) {
            Ok((answer, taken)) => {
                let header = answer.header;
                let mut value = answer.value.to_vec();
                match Op::from_wire(header.op) {
                    // Figures are others each time.
                    Some(Op::Statistics) => value.clear(),
                    // The server's clock, at the end.
                    Some(Op::Hello) => value.truncate(value.len().saturating_sub(8)),
                    _ => {}
                }
                all.push(Told {
                    op: header.op,
                    status: header.status,
                    marks: header.marks,
                    id: header.id,
                    extensions: answer.extensions.len(),
                    key: answer.key.to_vec(),
                    value,
                });
                bytes = &bytes[taken..];
            }
            Err(ParseError::Incomplete { .. }) => return all,
            Err(ParseError::Invalid(invalid)) => panic!("no answer: {invalid}"),
        }
    }
}

/// Behind each case, so that its answers are known to be all.
const LAST: u32 = 0x7777_7777;

fn sent(case: &Case) -> Vec<u8> {
    [&case.bytes[..], &request(Op::Ping, LAST, &Options::NONE, b"", b"that is all")].concat()
}

fn is_last(told: &[Told]) -> bool {
    told.last().is_some_and(|last| last.id == LAST)
}

/// The answers, and whether the connection ended.
fn over_tcp(server: SocketAddr, case: &Case) -> (Vec<Told>, bool) {
    let mut socket = TcpStream::connect(server).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("it can");
    socket.write_all(&sent(case)).expect("sent");
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 4096];
        match read(&mut socket, &mut more) {
            Ok(0) => return (told(&bytes), true),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return (told(&bytes), true),
            count => bytes.extend_from_slice(&more[..count.expect("an answer")]),
        }
        let told = told(&bytes);
        if is_last(&told) {
            return (told, false);
        }
    }
}

fn over_rdma(wire: &mut Wire, case: &Case) -> (Vec<Told>, bool) {
    let mut goes_on = wire.try_write(&sent(case)).is_ok();
    loop {
        let told = told(wire.rest());
        if is_last(&told) || !goes_on {
            return (told, !goes_on);
        }
        goes_on = wire.try_more().is_ok();
    }
}

pub(crate) fn every_request_is_answered_as_over_tcp(devices: &Devices) {
    let (server, local) = (start(devices, |_| {}), local(devices));
    let all: Vec<Case> = ["requests.txt", "edges.txt"].into_iter().flat_map(cases).collect();
    let asked = all.iter().filter(|case| case.direction == "request" && !is_left_out(case));
    let mut count = 0;
    for case in asked {
        let flush = |what| {
            let mut wire = TcpStream::connect(address(&server)).expect("a connection");
            wire.write_all(&request(Op::Flush, 1, &Options::NONE, b"", b"")).expect("sent");
            let mut answer = [0; 16];
            wire.read_exact(&mut answer).expect(what);
        };
        flush("an empty store for TCP");
        let wanted = over_tcp(address(&server), case);
        flush("an empty store for RDMA");
        let mut wire = Wire::new(&server, &local);
        assert_eq!(over_rdma(&mut wire, case), wanted, "{}", case.name);
        count += 1;
    }
    assert!(count > 50, "{count} cases");
    nothing_is_left(&server);
}

/// What asks to go on otherwise, which a connection over RDMA cannot, and what is taken for another protocol.
fn is_left_out(case: &Case) -> bool {
    let op = case.bytes.get(1).copied().and_then(Op::from_wire);
    case.bytes.first() != Some(&MAGIC) || matches!(op, Some(Op::Attach | Op::Pair))
}
