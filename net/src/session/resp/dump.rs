//! DUMP and RESTORE: values as Redis' own payloads.

use super::call::{Call, keyed, part};
use super::error::Error;
use super::reply::failed;
use super::reply_kind::Kind;
use super::storage::Storage;
use crate::session::output::Output;
use crate::session::part::{Part, Work};
use torc_engine::command::{Expiry, Op, Read, Unpack, Value, WriteMode};
use torc_proto::resp::compose;
use torc_proto::resp::dump::{self, Dump, Dumped, FOOTER_BYTES};

/// Longest value that is dumped, bytes: all of it is summed up while others wait.
const DUMP_BYTES_MAX: u64 = 16 << 20;
/// Longest value that may turn out to be an integer.
const INTEGER_BYTES_MAX: usize = 20;

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn dump<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    parts.push(keyed(call.key(1)?, Op::Read(Read { peek: true, ..Read::default() }), Kind::Dump));
    Ok(())
}

/// Writes the payload of a value; a long one is lent.
pub(super) fn write(value: Value<'_>, out: &mut Output) {
    if value.len() > DUMP_BYTES_MAX {
        return failed(Error::DumpTooLong, &[], out);
    }
    match value {
        Value::Inline(bytes) => bytes.with_copy(|bytes| {
            let text = Some(bytes).filter(|bytes| bytes.len() <= INTEGER_BYTES_MAX);
            let (mut dump, head, is_integer) = Dump::begin(bytes.len() as u64, text);
            let bytes = if is_integer { &[] } else { bytes };
            dump.take(bytes);
            let tail = out.tail();
            compose::bulk_header(tail, (head.len() + bytes.len() + FOOTER_BYTES) as u64);
            [&head, bytes, &dump.end(), b"\r\n"].into_iter().for_each(|part| tail.extend_from_slice(part));
        }),
        Value::Chained(chain) => {
            let (mut dump, head, _) = Dump::begin(chain.len(), None);
            compose::bulk_header(out.tail(), head.len() as u64 + chain.len() + FOOTER_BYTES as u64);
            out.tail().extend_from_slice(&head);
            let mut copy = Vec::new();
            for lent in chain.lend(0..chain.len()) {
                copy.clear();
                lent.bytes().append_to(&mut copy);
                dump.take(&copy);
                out.lend(lent);
            }
            out.tail().extend_from_slice(&dump.end());
            out.tail().extend_from_slice(b"\r\n");
        }
    }
}

pub(super) fn restore<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let key = call.key(1)?;
    let Options { replace, absolute } = options(call)?;
    match restored(call, (replace, absolute), parts) {
        // Redis looks for the key before it looks at what is to be stored.
        Err(error) if !replace => {
            let look = Op::Read(Read::LOOK);
            parts.push(keyed(key, look, Kind::BusyOr(error)));
            Ok(())
        }
        result => result,
    }
}

struct Options {
    replace: bool,
    /// The time is that of the end, not until then.
    absolute: bool,
}

/// IDLETIME and FREQ are checked, and mean nothing here.
fn options(call: &Call<'_, '_>) -> Result<Options, Error> {
    let mut options = Options { replace: false, absolute: false };
    let (mut has_idle_time, mut has_frequency) = (false, false);
    let mut index = 4;
    while index < call.len() {
        let is = |name: &str| call.argument(index).eq_ignore_ascii_case(name.as_bytes());
        let more = index + 1 < call.len();
        match () {
            () if is("REPLACE") => options.replace = true,
            () if is("ABSTTL") => options.absolute = true,
            () if is("IDLETIME") && more && !has_frequency => {
                index += 1;
                has_idle_time = true;
                if call.integer(index)? < 0 {
                    return Err(Error::RestoredIdleTime);
                }
            }
            () if is("FREQ") && more && !has_idle_time => {
                index += 1;
                has_frequency = true;
                if !(0..=255).contains(&call.integer(index)?) {
                    return Err(Error::RestoredFrequency);
                }
            }
            () => return Err(Error::Syntax),
        }
        index += 1;
    }
    Ok(options)
}

fn restored<'a>(
    call: &Call<'_, 'a>,
    (replace, absolute): (bool, bool),
    parts: Parts<'_, 'a>,
) -> Result<(), Error> {
    let ttl = u64::try_from(call.integer(2)?).map_err(|_| Error::RestoredTtl)?;
    let expiry = match ttl {
        0 => Expiry::Never,
        ttl if absolute => Expiry::At(ttl),
        ttl => Expiry::At(call.now.saturating_add(ttl)),
    };
    let mode = if replace { WriteMode::Set } else { WriteMode::Add };
    let value = match dump::read(call.argument(3)).map_err(Error::BadDump)? {
        Dumped::Plain(value) => value,
        Dumped::Integer(number) => call.scratch.keep(itoa::Buffer::new().format(number).as_bytes()),
        Dumped::Lzf(packed, len) => {
            let len = u32::try_from(len).map_err(|_| Error::ValueTooLong)?;
            let op = Op::Unpack(Unpack { packed, len, mode, expiry });
            parts.push(keyed(call.key(1)?, op, Kind::Restored));
            return Ok(());
        }
    };
    if value.len() as u64 > call.limits.value_bytes_max {
        return Err(Error::ValueTooLong);
    }
    let storage = Storage { mode, ..Storage::new(call.key(1)?, Kind::Restored) };
    if value.len() <= call.limits.value_bytes_inline {
        let command = storage.command(value, expiry);
        parts.push(keyed(command.key, command.op, storage.kind));
        return Ok(());
    }
    let begin = Work::ValueBegin { command: storage.command(&[], expiry), bytes: value.len() as u64 };
    for work in [begin, Work::ValueData(value), Work::ValueEnd] {
        parts.push(part(work, storage.kind, &[]));
    }
    Ok(())
}
