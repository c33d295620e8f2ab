//! Keys of all shards, told as they are found: `lru_crawler metadump` and `mgdump`, `stats cachedump`.
//!
//! ```text
//!   key=<key> exp=<second>|-1 la=<second> cas=<token> fetch=yes|no cls=1 size=<bytes> flags=<flags> LF     then  END
//!   mg <key>   or   mg <key in base64> b                                                                   then  EN
//!   ITEM <key> [<bytes> b; <second>|0 s]                                                                   then  END
//! ```

use super::compose::problem;
use crate::session::answer::Answer;
use crate::session::output::Output;
use std::io::Write as _;
use torc_engine::meta::Meta;
use torc_engine::words;
use torc_proto::memcache::{CLASS, Dump, KEY_BYTES_MAX, LINE_END, is_key, key64};

/// Writes what a step has found, and the end behind the last one.
pub(super) fn compose(dump: Dump, answer: &Answer<'_>, out: &mut Output) {
    let is_last = match answer {
        Answer::Walked { count, found } => {
            items(dump, found, out.tail());
            *count > 0
        }
        // There are none of the classes that were asked for.
        Answer::Local => true,
        other => return problem(other, out),
    };
    if is_last {
        out.tail().extend_from_slice(if dump == Dump::Get { b"EN\r\n" } else { b"END\r\n" });
    }
}

/// `found`: of each item its key and its facts, as words.
fn items(dump: Dump, found: &[u8], tail: &mut Vec<u8>) {
    let mut words = words::each(found);
    while let (Some(key), Some(facts)) = (words.next(), words.next()) {
        match dump {
            Dump::Meta => facts_of(key, facts, tail),
            Dump::Get => request_for(key, tail),
            Dump::Items { .. } => item(key, facts, tail),
        }
    }
}

fn facts_of(key: &[u8], facts: &[u8], tail: &mut Vec<u8>) {
    let Some(meta) = Meta::of_bytes(facts) else { return };
    tail.extend_from_slice(b"key=");
    encode(key, tail);
    // Writing into a `Vec` does not fail.
    let _ = match second(&meta) {
        None => tail.write_all(b" exp=-1"),
        Some(second) => write!(tail, " exp={second}"),
    };
    let (written, fetched) = (meta.version >> 16, if meta.fetched { "yes" } else { "no" });
    let _ = writeln!(
        tail,
        " la={} cas={} fetch={fetched} cls={CLASS} size={} flags={}",
        written / 1000,
        meta.token,
        meta.value_bytes,
        meta.flags
    );
}

/// A key that no request of this protocol can name is left out.
fn request_for(key: &[u8], tail: &mut Vec<u8>) {
    // Base64 has four letters for three bytes.
    if is_key(key) && key.len() <= KEY_BYTES_MAX {
        tail.extend_from_slice(b"mg ");
        tail.extend_from_slice(key);
        tail.extend_from_slice(LINE_END);
    } else if key.len().div_ceil(3) * 4 <= KEY_BYTES_MAX {
        tail.extend_from_slice(b"mg ");
        key64::encode(key, tail);
        tail.extend_from_slice(b" b\r\n");
    }
}

/// As [`request_for`], but there is no other way to write a key.
fn item(key: &[u8], facts: &[u8], tail: &mut Vec<u8>) {
    let Some(meta) = Meta::of_bytes(facts).filter(|_| is_key(key)) else { return };
    tail.extend_from_slice(b"ITEM ");
    tail.extend_from_slice(key);
    let _ = write!(tail, " [{} b; {} s]\r\n", meta.value_bytes, second(&meta).unwrap_or(0));
}

/// The second of the Unix epoch in which an item's time is over.
fn second(meta: &Meta) -> Option<u64> {
    meta.expiry.map(|expiry| expiry.div_ceil(1000))
}

/// Percent-encoding (RFC 3986): all but unreserved bytes.
pub(crate) fn encode(key: &[u8], to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in key {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            to.push(byte);
        } else {
            to.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(dump: Dump, keys: &[(&[u8], Meta)]) -> String {
        let mut found = Vec::new();
        for (key, meta) in keys {
            for word in [*key, &meta.to_bytes()] {
                words::begin(word.len() as u32, &mut found);
                found.extend_from_slice(word);
            }
        }
        let mut out = Output::default();
        compose(dump, &Answer::Walked { count: 0, found: &found }, &mut out);
        compose(dump, &Answer::Walked { count: 1, found: &[] }, &mut out);
        String::from_utf8(out.tail().clone()).unwrap()
    }

    #[test]
    fn items_are_told_as_memcached_tells_them() {
        let meta = Meta {
            version: 1_795_994_635_123 << 16 | 5,
            token: 2,
            flags: 3,
            expiry: Some(1_795_994_734_500),
            value_bytes: 66,
            fetched: true,
            ..Meta::default()
        };
        let keys: [(&[u8], Meta); 3] =
            [(b"a:b", meta), (b"\0\n", Meta { expiry: None, fetched: false, ..meta }), (&[0; 200], meta)];
        let lines = told(Dump::Meta, &keys[..2]);
        assert_eq!(
            lines,
            "key=a%3Ab exp=1795994735 la=1795994635 cas=2 fetch=yes cls=1 size=66 flags=3\n\
             key=%00%0A exp=-1 la=1795994635 cas=2 fetch=no cls=1 size=66 flags=3\nEND\r\n"
        );
        assert_eq!(told(Dump::Get, &keys), "mg a:b\r\nmg AAo= b\r\nEN\r\n");
        assert_eq!(told(Dump::Items { max: 9 }, &keys), "ITEM a:b [66 b; 1795994735 s]\r\nEND\r\n");
    }
}
