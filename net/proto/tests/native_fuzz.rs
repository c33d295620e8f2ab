//! The fuzz bodies over the kept corpus and a fixed number of changed inputs, and frames of any content there and back.
//! An input that broke something once is added to `corpus/native`.

mod support;

use proptest::prelude::*;
use support::{Random, corpus};
use torc_proto::native::frame::compose_request;
use torc_proto::native::fuzz::{fuzz_native_answer, fuzz_native_request};
use torc_proto::native::{
    Answer, AnswerHeader, Change, Expiry, FrameLimits, Initial, ItemFacts, ItemMeta, Op, Options, Request,
    Trace,
};

/// Changed inputs made of each kept one.
const CHANGED: usize = 4_000;
const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };

#[test]
fn kept_inputs_and_changes_of_them() {
    let inputs = corpus("native");
    let mut random = Random(0x5EED);
    for input in &inputs {
        fuzz_native_request(input);
        fuzz_native_answer(input);
        for _ in 0..CHANGED {
            let other = &inputs[random.below(inputs.len())];
            let bytes = changed(input, other, &mut random);
            fuzz_native_request(&bytes);
            fuzz_native_answer(&bytes);
        }
    }
}

/// A few changes. Lengths and types sit in the first bytes of headers and extensions, so those are changed most.
fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    const TELLING: &[u8] = &[0, 1, 2, 7, 8, 9, 16, 24, 0x41, 0x7F, 0x80, 0xC7, 0xFF];
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = match random.below(2) {
            0 => random.below(bytes.len().min(32) + 1),
            _ => random.below(bytes.len() + 1),
        };
        match random.below(6) {
            0 | 1 if at < bytes.len() => bytes[at] = TELLING[random.below(TELLING.len())],
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, other.iter().copied())),
        }
    }
    bytes
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Keep),
        Just(Expiry::Never),
        any::<u64>().prop_map(Expiry::In),
        any::<u64>().prop_map(Expiry::At)
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let numbers = (any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u64>>(), any::<Option<u64>>());
    let expiries = (prop::option::of(expiry()), prop::option::of(expiry()), any::<Option<u64>>());
    let initial =
        prop::option::of((any::<u64>(), expiry()).prop_map(|(number, expiry)| Initial { number, expiry }));
    let change = prop::option::of(
        (any::<u64>(), any::<bool>()).prop_map(|(number, repeat)| Change { number, repeat }),
    );
    let trace =
        prop::option::of(
            (any::<u32>(), any::<[u8; 16]>(), any::<[u8; 8]>())
                .prop_map(|(flags, trace_id, span_id)| Trace { flags, trace_id, span_id }),
        );
    (numbers, expiries, initial, change, trace).prop_map(|(numbers, expiries, initial, change, trace)| {
        Options {
            deadline_us: numbers.0,
            client_flags: numbers.1,
            compare: numbers.2,
            token: numbers.3,
            expiry: expiries.0,
            vivify: expiries.1,
            recache_below_ms: expiries.2,
            initial,
            change,
            trace,
            critical: 0,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_survives_the_wire(
        op in prop::sample::select(&Op::ALL[..]),
        flags in any::<u16>(),
        id in any::<u32>(),
        options in options(),
        key in prop::collection::vec(any::<u8>(), 0..300),
        value in prop::collection::vec(any::<u8>(), 0..300),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        compose_request(&mut bytes, op, flags, id, &options, &key, &value).unwrap();
        let frame_bytes = bytes.len();
        bytes.extend(behind);
        let (request, consumed) = Request::parse(&bytes, &LIMITS).unwrap();
        prop_assert_eq!(consumed, frame_bytes);
        prop_assert_eq!(request.header.head_bytes() + value.len(), frame_bytes);
        prop_assert_eq!((request.header.op, request.header.flags, request.header.id), (op as u8, flags, id));
        prop_assert_eq!((request.key, request.value), (&key[..], &value[..]));
        prop_assert_eq!(Options::parse(request.extensions), Ok(options));
    }

    #[test]
    fn an_answer_survives_the_wire(
        codes in (0_u8..0x80, any::<u8>(), any::<u8>(), any::<u32>(), any::<u64>()),
        client_flags in any::<u32>(),
        item in prop::option::of((any::<Option<u64>>(), any::<u64>(), any::<u64>())),
        access_age_s in any::<Option<u32>>(),
        key in prop::collection::vec(any::<u8>(), 0..300),
        value in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (op, status, marks, id, token) = codes;
        let item = item.map(|(remaining_ms, value_bytes, version)| ItemMeta {
            // The largest number stands for never.
            remaining_ms: remaining_ms.filter(|&ms| ms != u64::MAX),
            value_bytes,
            version,
        });
        let facts = ItemFacts { client_flags, item, access_age_s };
        let mut extensions = Vec::new();
        facts.compose(&mut extensions);
        let header = AnswerHeader { op, status, marks, id, token, ..AnswerHeader::default() };
        let mut bytes = Vec::new();
        Answer { header, extensions: &extensions, key: &key, value: &value }.compose(&mut bytes).unwrap();
        let (answer, consumed) = Answer::parse(&bytes, &LIMITS).unwrap();
        prop_assert_eq!(consumed, bytes.len());
        let got = (answer.header.op, answer.header.status, answer.header.marks, answer.header.id, answer.header.token);
        prop_assert_eq!(got, codes);
        prop_assert_eq!((answer.key, answer.value), (&key[..], &value[..]));
        prop_assert_eq!(ItemFacts::parse(answer.extensions), Ok(facts));
    }
}
