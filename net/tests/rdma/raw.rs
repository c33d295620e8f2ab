//! A client that keeps to nothing: a queue pair, and messages as it likes.

use crate::wire::PATIENCE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;
use torc_proto::native::pair::{MESSAGES, PairEnd, Window};
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, Status};
use torc_rdma::Local;
use torc_rdma::verbs::completion::Completion;
use torc_rdma::verbs::device::{Domain, Pair, Queue, Registered};
use torc_rdma::verbs::gid::Gid;
use torc_rdma::verbs::memory::Buffer;
use torc_rdma::verbs::path::{Mtu, Path, Peer};
use torc_rdma::verbs::seam::{Access, CompletionQueue, PairOptions, QueuePair, Verbs};
use torc_rdma::verbs::work::{Action, Payload, Piece, Work};

/// Kinds of messages ([N-RDMA-5]).
pub(crate) const BYTES: u32 = 0;
pub(crate) const LENT: u32 = 2;
const FIRST: u32 = 77;
const RECEIVES: usize = 16;
const RECEIVE_BYTES: usize = 8 << 10;

pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    pair: Pair,
    queue: Queue,
    _domain: Domain,
    memory: Registered,
    buffer: Arc<Buffer>,
    number: u32,
}

/// What a pairing is answered: the server's end, or status and words.
pub(crate) fn ask(socket: &mut TcpStream, offer: &PairEnd) -> Result<PairEnd, (u8, String)> {
    let mut value = Vec::new();
    offer.compose(&mut value);
    socket.write_all(&crate::wire::request(Op::Pair, 1, &Options::NONE, b"", &value)).expect("sent");
    let mut bytes = Vec::new();
    loop {
        match Answer::parse(&bytes, &FrameLimits { value_bytes_max: 1 << 16 }) {
            Ok((answer, _)) if answer.header.status == Status::Ok as u8 => {
                return Ok(PairEnd::parse(answer.value).expect("an end"));
            }
            Ok((answer, _)) => {
                return Err((answer.header.status, String::from_utf8_lossy(answer.value).into_owned()));
            }
            Err(ParseError::Incomplete { missing }) => {
                let before = bytes.len();
                bytes.resize(before + missing, 0);
                socket.read_exact(&mut bytes[before..]).expect("an answer");
            }
            Err(ParseError::Invalid(invalid)) => panic!("no answer: {invalid}"),
        }
    }
}

/// An end that can be, of a queue pair that is not there.
pub(crate) fn offer(local: &Local) -> PairEnd {
    PairEnd {
        version_min: MESSAGES,
        version_max: MESSAGES,
        gid: local.place.gid.0,
        number: 0x1234,
        first: FIRST,
        mtu: local.place.mtu.bytes(),
        reads: 4,
        receives: RECEIVES as u16,
        receive_bytes: RECEIVE_BYTES as u32,
        ..PairEnd::default()
    }
}

impl Raw {
    /// Pairs, telling of these windows.
    pub(crate) fn new(server: SocketAddr, local: &Local, landing: Window, lending: Window) -> Raw {
        let mut socket = TcpStream::connect(server).expect("it accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("it can");
        let domain = local.device.domain().expect("a domain");
        let queue = local.device.completion_queue(256).expect("a queue");
        let buffer = Buffer::new(RECEIVES * RECEIVE_BYTES + RECEIVE_BYTES).expect("memory");
        let memory =
            local.device.register(&domain, buffer.clone(), Access::RemoteReadWrite).expect("registered");
        let options = PairOptions {
            send_queue: &queue,
            receive_queue: &queue,
            shared: None,
            sends: 128,
            receives: RECEIVES as u32,
            inline_bytes: 0,
        };
        let pair = local.device.queue_pair(&domain, &options).expect("a queue pair");
        let place = &local.place;
        pair.initialize(place.port, Access::RemoteReadWrite).expect("a port");
        for number in 0..RECEIVES {
            let piece = Piece { region: &memory, at: number * RECEIVE_BYTES, len: RECEIVE_BYTES };
            pair.post_receive(number as u64, &[piece]).expect("room");
        }
        let offer = PairEnd { number: pair.number(), landing, lending, ..offer(local) };
        let answer = ask(&mut socket, &offer).expect("it is paired");
        let mtu = Mtu::of_bytes(answer.mtu).expect("one that is known");
        let path = Path { first: FIRST, ..Path::new(place.port, place.gid_index, mtu) };
        let peer = Peer { number: answer.number, first: answer.first, gid: Gid(answer.gid) };
        pair.ready_to_receive(&path, &peer).expect("a peer");
        pair.ready_to_send(&path).expect("a path");
        Raw { socket, pair, queue, _domain: domain, memory, buffer, number: 0 }
    }

    /// A message of a kind that says it is the next.
    pub(crate) fn say(&mut self, kind: u32, bytes: &[u8]) {
        let immediate = kind << 29 | (self.number % 16) << 25;
        self.number += 1;
        self.send(Some(immediate), bytes);
    }

    /// Any message at all.
    pub(crate) fn send(&mut self, immediate: Option<u32>, bytes: &[u8]) {
        let at = RECEIVES * RECEIVE_BYTES;
        self.buffer.write(at, bytes);
        let piece = [Piece { region: &self.memory, at, len: bytes.len() }];
        let payload = Payload::Pieces(if bytes.is_empty() { &[] } else { &piece });
        let work =
            Work { id: 0, action: Action::Send { payload, immediate }, signaled: true, solicited: false };
        // It may have failed already.
        let _ = self.pair.post(&[work]);
    }

    /// Waits for the server to end the connection.
    pub(crate) fn ends(&mut self, what: &str) {
        let since = Instant::now();
        let mut byte = [0];
        match crate::wire::read(&mut self.socket, &mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{what}: not the end but {other:?} after {:?}", since.elapsed()),
        }
        let mut completions = [Completion::NONE; 64];
        let _ = self.queue.poll(&mut completions);
    }
}
