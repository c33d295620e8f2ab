//! Answers of the text commands, and what all answers share.

use super::reply_kind::{Denial, LineKind};
use crate::session::answer::Answer;
use crate::session::bad_input::BadInput;
use crate::session::context::{Changeable, ServerView};
use crate::session::output::Output;
use torc_engine::command::{Found, Number, Outcome, Refusal, Value};
use torc_proto::memcache::{Invalid, LINE_END};

/// The release of memcached whose protocol is spoken, which clients ask for.
pub(super) const PROTOCOL_VERSION: &str = "1.6.18";

/// One key of a retrieval.
#[inline]
pub(super) fn item(
    cas: bool,
    last: bool,
    failed: &mut bool,
    key: &[u8],
    answer: &Answer<'_>,
    out: &mut Output,
) {
    match answer {
        Answer::Outcome(Outcome::Item(found)) if !*failed => {
            item_line(cas, last, key, found, out);
            return;
        }
        Answer::Outcome(Outcome::Item(_) | Outcome::Miss) => {}
        problem if !*failed => {
            // A retrieval ends with `END` or with an error; clients read no further than either.
            self::problem(problem, out);
            *failed = true;
        }
        _ => {}
    }
    if last && !std::mem::take(failed) {
        out.tail().extend_from_slice(b"END\r\n");
    }
}

#[inline]
fn item_line(cas: bool, last: bool, key: &[u8], found: &Found<'_>, out: &mut Output) {
    let mut number = itoa::Buffer::new();
    let value_bytes = match found.value {
        Value::Inline(value) => value.len(),
        Value::Chained(_) => 0,
    };
    let tail = out.tail();
    // Words, three numbers of at most 20 digits, line ends, END.
    tail.reserve(key.len() + value_bytes + 96);
    tail.extend_from_slice(b"VALUE ");
    tail.extend_from_slice(key);
    if found.meta.flags == 0 {
        tail.extend_from_slice(b" 0 ");
    } else {
        tail.push(b' ');
        tail.extend_from_slice(number.format(found.meta.flags).as_bytes());
        tail.push(b' ');
    }
    tail.extend_from_slice(number.format(found.value.len()).as_bytes());
    if cas {
        tail.push(b' ');
        tail.extend_from_slice(number.format(found.meta.token).as_bytes());
    }
    tail.extend_from_slice(LINE_END);
    value(&found.value, out);
    out.tail().extend_from_slice(if last { b"\r\nEND\r\n" } else { LINE_END });
}

/// Copies a value that is in one piece, lends a chained one.
#[inline]
pub(super) fn value(value: &Value<'_>, out: &mut Output) {
    match value {
        Value::Inline(bytes) => bytes.append_to(out.tail()),
        Value::Chained(chain) => chain.lend(0..chain.len()).for_each(|lent| out.lend(lent)),
    }
}

pub(super) fn line(kind: LineKind, answer: &Answer<'_>, out: &mut Output) {
    let text: &[u8] = match (kind, answer) {
        (LineKind::TooLarge, Answer::Outcome(_) | Answer::Local) => {
            out.count_error(BadInput::ValueTooLong);
            TOO_LARGE
        }
        (LineKind::Version, _) => {
            let tail = out.tail();
            for text in ["VERSION ", PROTOCOL_VERSION, " (torc ", env!("CARGO_PKG_VERSION")] {
                tail.extend_from_slice(text.as_bytes());
            }
            b")\r\n"
        }
        (LineKind::MetaNoop, _) => b"MN\r\n",
        (LineKind::Ok, Answer::Local | Answer::Flushed) => b"OK\r\n",
        (LineKind::Store, Answer::Outcome(Outcome::Stored { .. })) => b"STORED\r\n",
        (LineKind::Store, Answer::Outcome(Outcome::NotStored { .. })) => b"NOT_STORED\r\n",
        (LineKind::Store, Answer::Outcome(Outcome::Exists)) => b"EXISTS\r\n",
        (LineKind::Delete, Answer::Outcome(Outcome::Deleted { .. })) => b"DELETED\r\n",
        (LineKind::Touch, Answer::Outcome(Outcome::Touched { .. })) => b"TOUCHED\r\n",
        (LineKind::Count, Answer::Outcome(Outcome::Counter { number: Number::Unsigned(number), .. })) => {
            out.tail().extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            LINE_END
        }
        (_, Answer::Outcome(Outcome::Miss)) => b"NOT_FOUND\r\n",
        (_, other) => return problem(other, out),
    };
    out.tail().extend_from_slice(text);
}

/// A size is taken up to that of the start, and from the least that shards need.
#[cold]
pub(super) fn memory_limit(megabytes: u32, noreply: bool, server: &dyn ServerView, out: &mut Output) {
    let bytes = i64::from(megabytes) << 20;
    let (least, most) = server.changeable_limits(Changeable::MemoryBytes);
    let fits = (least..=most).contains(&bytes);
    if fits {
        server.change(Changeable::MemoryBytes, bytes);
    }
    match fits {
        _ if noreply => {}
        true => out.tail().extend_from_slice(b"OK\r\n"),
        false => invalid(Invalid::MemoryOutOfBounds, out),
    }
}

/// Whether the client is one more that watches.
#[cold]
pub(super) fn watch(answer: &Answer<'_>, out: &mut Output) {
    match answer {
        Answer::Busy { .. } => invalid(Invalid::TooManyWatchers, out),
        _ => out.tail().extend_from_slice(b"OK\r\n"),
    }
}

/// The end of the server is its answer, as in memcached.
#[cold]
pub(super) fn shutdown(is_known: bool, server: &dyn ServerView, out: &mut Output) {
    match is_known {
        _ if !server.has_shutdown_command() => invalid(Invalid::Shutdown, out),
        false => invalid(Invalid::ShutdownMode, out),
        true => server.shut_down(),
    }
}

/// An error that the session has found itself.
#[cold]
pub(super) fn invalid(error: Invalid, out: &mut Output) {
    out.count_error(match error {
        Invalid::Command | Invalid::Shutdown => BadInput::UnknownCommand,
        Invalid::Key | Invalid::Key64 => BadInput::Key,
        Invalid::DataChunk => BadInput::Malformed,
        Invalid::LineTooLong | Invalid::FrameTooLong | Invalid::TooManyKeys => BadInput::Limit,
        Invalid::TooManyWatchers => BadInput::Limit,
        _ => BadInput::Arguments,
    });
    out.tail().extend_from_slice(error.line());
}

/// The client has given no password.
#[cold]
pub(super) fn denied(denial: Denial, out: &mut Output) {
    out.count_error(BadInput::Unauthenticated);
    out.tail().extend_from_slice(match denial {
        Denial::Unauthenticated => b"CLIENT_ERROR unauthenticated\r\n",
        Denial::Termination => b"CLIENT_ERROR bad command line termination\r\n",
        Denial::Words => b"CLIENT_ERROR bad authentication token format\r\n",
    });
}

/// Whether the password that the client has given was right.
#[cold]
pub(super) fn entered(is_through: bool, out: &mut Output) {
    out.tail().extend_from_slice(match is_through {
        true => b"STORED\r\n",
        false => b"CLIENT_ERROR authentication failure\r\n",
    });
}

const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";

/// Says why there is no outcome of the expected kind.
#[cold]
pub(super) fn problem(answer: &Answer<'_>, out: &mut Output) {
    let tail = out.tail();
    let text: &[u8] = match answer {
        Answer::Busy { limit } => {
            tail.extend_from_slice(b"SERVER_ERROR busy: limit --");
            tail.extend_from_slice(limit.trim_start_matches('-').as_bytes());
            b" reached\r\n"
        }
        Answer::Outcome(Outcome::Refused(refusal)) => match refusal {
            Refusal::ValueTooLarge => TOO_LARGE,
            Refusal::KeyTooLarge => Invalid::Format.line(),
            Refusal::OutOfMemory => b"SERVER_ERROR out of memory storing object\r\n",
            Refusal::NotANumber | Refusal::Overflow | Refusal::RangeTooLong | Refusal::BadPacked => {
                b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
            }
        },
        Answer::NotWalked(_) => b"SERVER_ERROR out of memory writing stats\r\n",
        _ => b"SERVER_ERROR unexpected outcome\r\n",
    };
    tail.extend_from_slice(text);
}
