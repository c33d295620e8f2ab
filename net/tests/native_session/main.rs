//! The native session before the plain model and before a real shard: the same cases hold for both. And what needs neither.

#![allow(clippy::duplicate_mod, reason = "the cases are compiled over each store")]

#[path = "../support/mod.rs"]
mod support;

mod over_model;
mod over_shard;

use torc_net::session::{Output, Port, Protocol, Push, PushAbout, Session};
use torc_proto::native::{AnswerHeader, Op, Status};

/// [N-PUSH-1]
#[test]
fn a_push_answers_no_request() {
    let mut session = Session::new(Some(Protocol::Native), Port::Common);
    let (mut buffer, mut out) = (Vec::new(), Output::default());
    let words: [&[u8]; 2] = [b"message", b"text"];
    assert!(session.push(Push::new(&words, &mut buffer), &mut out));
    let header = AnswerHeader::parse(out.tail()).expect("a whole header");
    assert_eq!((header.op, header.id, header.status), (0x7F, 0, Status::Ok as u8));
    assert_eq!(out.tail()[1], 0xFF);
    let value = &out.tail()[24..];
    assert_eq!(value.len(), header.value_bytes as usize);
    assert!(Push::of_bytes(PushAbout::Words, value).words().eq(words));
    assert!(Op::from_wire(header.op).is_none());
}
