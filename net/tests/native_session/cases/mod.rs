//! Each clause's promise as bytes in and bytes out, over whatever store the module around this one gives.
//!
//! Method: requests are composed with the codec, whose bytes have vectors of their own; answers are parsed and compared.

mod frames;
mod items;
mod leases;
mod sessions;

use super::{Backing, backing};
use crate::support::{Connection, LIMITS};
use torc_net::session::{Protocol, native::CREDIT};
use torc_proto::native::attach::FEATURE_SHARED_MEMORY;
use torc_proto::native::extension::ItemMeta;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{
    Answer, AnswerHeader, Change, Expiry, FrameLimits, Hello, HelloAnswer, Initial, ItemFacts, MAGIC, Op,
    Options, Status, Topology, flags, keys, marks,
};

const NOW: u64 = 1_790_000_000_000;

/// One answer, owned.
#[derive(Debug, PartialEq)]
struct Got {
    header: AnswerHeader,
    facts: ItemFacts,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Got {
    fn status(&self) -> Status {
        self.header.status()
    }
}

/// A connection with the store behind it.
struct Client {
    connection: Connection,
    store: Backing,
    now: u64,
    id: u32,
}

impl Client {
    fn new() -> Client {
        Client { connection: Connection::new(None), store: backing(NOW), now: NOW, id: 0 }
    }

    fn raw(&mut self, bytes: &[u8]) -> Vec<Got> {
        answers(&self.connection.send(bytes, &mut self.store, self.now))
    }

    fn all(&mut self, op: Op, flags: u16, options: &Options, key: &[u8], value: &[u8]) -> Vec<Got> {
        self.id += 1;
        let bytes = request(op, flags, self.id, options, key, value);
        self.raw(&bytes)
    }

    /// The one answer to one request.
    fn ask(&mut self, op: Op, flags: u16, options: &Options, key: &[u8], value: &[u8]) -> Got {
        let mut all = self.all(op, flags, options, key, value);
        assert_eq!(all.len(), 1, "{all:?}");
        let got = all.remove(0);
        assert_eq!((got.header.id, got.header.op), (self.id, op as u8));
        got
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Got {
        self.ask(Op::Set, 0, &Options::NONE, key, value)
    }

    fn get(&mut self, key: &[u8]) -> Got {
        self.ask(Op::Get, 0, &Options::NONE, key, b"")
    }

    fn hello(&mut self, session: u64, boot_id: u64) -> Got {
        let mut value = Vec::new();
        Hello { version_min: 1, version_max: 1, features: 0, session, boot_id }.compose(&mut value);
        self.ask(Op::Hello, 0, &Options::NONE, b"tests", &value)
    }
}

fn answers(mut bytes: &[u8]) -> Vec<Got> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let (answer, consumed) =
            Answer::parse(bytes, &FrameLimits { value_bytes_max: u32::MAX }).expect("whole answers");
        answers.push(Got {
            header: answer.header,
            facts: ItemFacts::parse(answer.extensions).expect("known extensions"),
            key: answer.key.to_vec(),
            value: answer.value.to_vec(),
        });
        bytes = &bytes[consumed..];
    }
    answers
}

fn request(op: Op, flags: u16, id: u32, options: &Options, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    compose_request(&mut bytes, op, flags, id, options, key, value).expect("lengths that fit");
    bytes
}

fn keys_value(list: &[&[u8]]) -> Vec<u8> {
    let mut value = Vec::new();
    for key in list {
        keys::push_key(&mut value, key).expect("short keys");
    }
    value
}
