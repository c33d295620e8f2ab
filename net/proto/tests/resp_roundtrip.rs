//! What one side composes the other reads: requests, and replies of both versions.

use proptest::prelude::*;
use torc_proto::resp::compose::{self, Version};
use torc_proto::resp::reply::{Parsed, Reply, parse};
use torc_proto::resp::request::{self, Arguments, Step};

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(
        words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..40),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        compose::request(&mut bytes, &words);
        let len = bytes.len();
        bytes.extend_from_slice(&behind);
        let mut arguments = Arguments::default();
        prop_assert_eq!(request::parse(&bytes, 40, &mut arguments), Step::Complete { consumed: len });
        prop_assert_eq!(request::inline_words(&bytes, &arguments), words);
    }

    #[test]
    fn a_quoted_inline_request_is_read_as_it_was_written(
        words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..10),
    ) {
        let mut line = Vec::new();
        for word in &words {
            line.push(b'"');
            for byte in word {
                line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            line.extend_from_slice(b"\" ");
        }
        line.extend_from_slice(b"\r\n");
        let mut arguments = Arguments::default();
        prop_assert_eq!(request::parse(&line, 10, &mut arguments), Step::Complete { consumed: line.len() });
        prop_assert_eq!(request::inline_words(&line, &arguments), words);
    }

    #[test]
    fn a_reply_is_read_as_it_was_written(reply in reply()) {
        let mut bytes = Vec::new();
        write(&reply, &mut bytes);
        let consumed = bytes.len();
        for cut in 0..consumed {
            prop_assert_eq!(parse(&bytes[..cut]), Parsed::Incomplete);
        }
        bytes.extend_from_slice(b"+more\r\n");
        prop_assert_eq!(parse(&bytes), Parsed::Complete { reply, consumed });
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Parsed::Complete { consumed, .. } = parse(&bytes) {
            prop_assert!(consumed <= bytes.len());
        }
    }
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        "[a-zA-Z ]{0,20}".prop_map(|text| Reply::Simple(text.into_bytes())),
        "[A-Z]{1,5} [a-z ]{0,20}".prop_map(|text| Reply::Error(text.into_bytes())),
        any::<i64>().prop_map(Reply::Integer),
        proptest::collection::vec(any::<u8>(), 0..50).prop_map(Reply::Bulk),
        Just(Reply::Null),
        any::<bool>().prop_map(Reply::Boolean),
        (-1e300..1e300f64).prop_map(Reply::Double),
        "-?[1-9][0-9]{0,40}".prop_map(|digits| Reply::BigNumber(digits.into_bytes())),
        "[a-z\r\n]{0,20}".prop_map(|text| Reply::Verbatim { format: *b"txt", text: text.into_bytes() }),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Reply::Array),
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Reply::Set),
            proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

fn write(reply: &Reply, out: &mut Vec<u8>) {
    const VERSION: Version = Version::Resp3;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("made of text");
    match reply {
        Reply::Simple(bytes) => compose::simple(out, &text(bytes)),
        Reply::Error(bytes) => compose::error(out, bytes),
        Reply::Integer(number) => compose::integer(out, *number),
        Reply::Bulk(bytes) => compose::bulk(out, bytes),
        Reply::Null => compose::null(out, VERSION),
        Reply::Boolean(value) => compose::boolean(out, *value, VERSION),
        Reply::Double(number) => compose::double(out, *number, VERSION),
        Reply::BigNumber(digits) => compose::big_number(out, &text(digits), VERSION),
        Reply::Verbatim { text: bytes, .. } => compose::verbatim(out, &text(bytes), VERSION),
        Reply::Array(replies) | Reply::Push(replies) => {
            compose::array(out, replies.len());
            replies.iter().for_each(|reply| write(reply, out));
        }
        Reply::Set(replies) => {
            compose::set(out, replies.len(), VERSION);
            replies.iter().for_each(|reply| write(reply, out));
        }
        Reply::Map(pairs) => {
            compose::map(out, pairs.len(), VERSION);
            for (name, value) in pairs {
                write(name, out);
                write(value, out);
            }
        }
    }
}
