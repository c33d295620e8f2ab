//! OBJECT: facts of a value, as far as they mean anything here.

use super::call::{Call, keyed, local};
use super::error::Error;
use super::memory::ITEM_OVERHEAD;
use super::reply_kind::{Fact, Kind};
use crate::session::part::Part;
use torc_engine::command::{Found, Millis, Op, Read, Value};
use torc_proto::resp::{compose, parse_i64};

pub(super) fn object<'a>(call: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<(), Error> {
    let word = call.argument(1);
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let kind = match () {
        () if is("ENCODING") => Kind::Object(Fact::Encoding),
        () if is("IDLETIME") => Kind::Object(Fact::Age),
        () if is("REFCOUNT") => Kind::Object(Fact::References),
        () if is("FREQ") => Kind::NullOr(Error::NoFrequency),
        () if is("HELP") => {
            parts.push(local(Kind::Help(HELP), &[]));
            return Ok(());
        }
        () => return Err(Error::UnknownSubcommand),
    };
    parts.push(keyed(call.key(2)?, Op::Read(Read { peek: true, ..Read::default() }), kind));
    Ok(())
}

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    What Redis would call the value: int, embstr or raw. It is stored as bytes.",
    "FREQ <key>",
    "    An error: how often a key is read is counted to three.",
    "IDLETIME <key>",
    "    Seconds since the value was written: reads are not dated.",
    "REFCOUNT <key>",
    "    1: no two keys share a value.",
    "HELP",
    "    Prints this help.",
];

/// Longest string that Redis keeps together with its object, bytes.
const EMBEDDED_BYTES_MAX: u64 = 44;
/// Longest text of an integer of 64 bits.
const INTEGER_BYTES_MAX: u64 = 20;

pub(super) fn tell(fact: Fact, (found, key_len): (&Found<'_>, usize), now: Millis, out: &mut Vec<u8>) {
    match fact {
        Fact::Encoding => compose::bulk(out, encoding(found.value)),
        Fact::Age => compose::integer(out, i64::try_from(age(found, now)).unwrap_or(i64::MAX)),
        Fact::All => {
            let (encoding, bytes, age) = (encoding(found.value), found.value.len() + 1, age(found, now));
            let encoding = String::from_utf8_lossy(encoding);
            let text = format!(
                "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:{age}"
            );
            compose::simple(out, &text);
        }
        Fact::References => compose::integer(out, 1),
        Fact::Usage => {
            let bytes = found.value.len() + key_len as u64 + ITEM_OVERHEAD;
            compose::integer(out, i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

/// Seconds since the value was written.
fn age(found: &Found<'_>, now: Millis) -> u64 {
    now.saturating_sub(torc_engine::version::millis(found.meta.version)) / 1000
}

/// What Redis calls a string that it has just stored.
fn encoding(value: Value<'_>) -> &'static [u8] {
    match value {
        Value::Inline(bytes) if is_integer(value) && bytes.with_copy(parse_i64).is_some() => b"int",
        _ if value.len() <= EMBEDDED_BYTES_MAX => b"embstr",
        _ => b"raw",
    }
}

fn is_integer(value: Value<'_>) -> bool {
    (1..=INTEGER_BYTES_MAX).contains(&value.len())
}
