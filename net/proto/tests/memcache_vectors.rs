//! The wire vectors through the parsers alone: a client's parser reads every answer to its end, and the
//! request parser takes every request, or its error, off the input.

#[path = "../../tests/support/vectors.rs"]
#[allow(dead_code, unreachable_pub, reason = "the sessions' tests use the rest")]
mod vectors;

use proptest::prelude::*;
use std::path::Path;
use torc_proto::memcache::request::{self, LineLimits, Request, StoreVerb};
use torc_proto::memcache::{MetaVerb, Words, compose, reply};
use vectors::{Numbers, Step, read_folder};

const LIMITS: LineLimits = LineLimits { line_bytes_max: 65536, key_bytes_max: 250, keys_max: 1024 };

/// Every number is 1.
fn ones() -> Numbers {
    ["cas", "first", "second", "third", "old", "new", "token"]
        .map(|name| (name.to_string(), b"1".to_vec()))
        .into()
}

#[test]
fn a_client_reads_every_answer_to_its_end() {
    let mut count = 0;
    for (name, case) in read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/memcache")) {
        for step in &case.steps {
            let Step::Exchange { expect, .. } = step else { continue };
            let answer = expect.fill(&ones());
            let mut rest = &answer[..];
            while !rest.is_empty() {
                let (_, consumed) = reply::parse(rest)
                    .unwrap_or_else(|error| panic!("{name}: {error:?} at {}", rest.escape_ascii()));
                rest = &rest[consumed..];
                count += 1;
            }
        }
    }
    assert!(count > 200, "only {count} answers");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_client_composes_is_what_a_server_reads(
        key in "[!-~]{1,250}",
        value in proptest::collection::vec(any::<u8>(), 0..300),
        flags in any::<u32>(),
        exptime in any::<i64>(),
        behind in proptest::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut out = Vec::new();
        compose::set(key.as_bytes(), &value, flags, exptime, &mut out);
        let end = out.len();
        out.extend_from_slice(&behind);
        let line = request::parse(&out, 0, &LIMITS).unwrap();
        let Request::Store(store) = line.request else { panic!("{line:?}") };
        prop_assert_eq!(store.verb, StoreVerb::Set);
        prop_assert_eq!((store.key, store.flags, store.exptime), (key.as_bytes(), flags, exptime));
        prop_assert!(!store.noreply);
        let bytes = store.bytes as usize;
        prop_assert_eq!(line.consumed + bytes + 2, end);
        prop_assert_eq!(
            torc_proto::memcache::value(&out[line.consumed..], bytes),
            torc_proto::memcache::Value::Complete(&value)
        );
    }

    #[test]
    fn keys_of_a_retrieval_come_back_in_order(keys in proptest::collection::vec("[!-~]{1,40}", 1..50), cas: bool) {
        let mut out = Vec::new();
        compose::get(keys.iter().map(|key| key.as_bytes()), cas, &mut out);
        let line = request::parse(&out, 0, &LIMITS).unwrap();
        let Request::Get(get) = line.request else { panic!("{line:?}") };
        prop_assert_eq!((get.cas, get.is_single()), (cas, keys.len() == 1));
        prop_assert!(Words::new(get.keys).eq(keys.iter().map(|key| key.as_bytes())));
    }

    #[test]
    fn a_line_cut_anywhere_is_incomplete(key in "[!-~]{1,100}", cut in 0usize..100) {
        let line = format!("mg {key} v k t\r\n");
        let cut = cut.min(line.len() - 1);
        let parsed = request::parse(&line.as_bytes()[..cut], 0, &LIMITS);
        prop_assert_eq!(parsed, Err(torc_proto::memcache::Unparsed::Incomplete));
        let whole = request::parse(line.as_bytes(), cut, &LIMITS).unwrap();
        let Request::Meta(meta) = whole.request else { panic!("{whole:?}") };
        prop_assert_eq!((meta.verb, meta.key), (MetaVerb::Get, key.as_bytes()));
    }
}
