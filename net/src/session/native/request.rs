//! One native frame to what the worker does for it. Pure: no state of a connection.

use super::refusal::Refusal;
use super::reply_kind::Kind;
use super::told::CREDIT;
use crate::session::deadline::Deadline;
use crate::session::parsing::Limits;
use crate::session::part::{Told, Work};
use torc_engine::command::{
    Arithmetic, Body, Command, Delete, Delta, Expire, ExpireCondition, Expiry, Millis, Number, Op as Do,
    Read, Write, WriteMode,
};
use torc_proto::native::attach::{FEATURE_READS, LAYOUT};
use torc_proto::native::extension::kind;
use torc_proto::native::{
    self, Accesses, Attach, Change, Doubts, Hello, Invalid, Op, Options, PairEnd, ReadsAsked, Request,
    RequestHeader, VERSION, flags,
};

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Refusal {
        match invalid {
            Invalid::ExtensionUnknown(_) => Refusal::UnknownExtension,
            Invalid::ExpiryKind(_) => Refusal::ExpiryKind,
            _ => Refusal::Extension,
        }
    }
}

/// A frame that was understood.
pub(super) struct Asked<'a> {
    pub work: Work<'a>,
    pub kind: Kind,
    pub echo: &'a [u8],
    pub change: Option<Change>,
    pub deadline: Deadline,
}

impl<'a> Asked<'a> {
    fn local(kind: Kind, echo: &'a [u8]) -> Self {
        Asked { work: Work::Local, kind, echo, change: None, deadline: Deadline::NONE }
    }
}

/// What the header alone can tell to be wrong, so that the frame need not be waited for.
#[inline]
pub(super) fn check_header(header: &RequestHeader, limits: &Limits) -> Result<Op, Refusal> {
    let op = Op::from_wire(header.op).ok_or(Refusal::UnknownOperation)?;
    if header.flags & !op.flags_known() != 0 {
        return Err(Refusal::Flags);
    }
    match header.flags & flags::DURABILITY {
        0 | flags::AT_ONCE => {}
        flags::DURABLE if limits.makes_durable => {}
        flags::DURABLE => return Err(Refusal::NotDurable),
        _ => return Err(Refusal::Durability),
    }
    if header.flags & flags::QUIET_OK != 0 && !op.is_change() && op != Op::Flush {
        return Err(Refusal::QuietGet);
    }
    if op.is_keyed() {
        check_key(header.key_bytes.into(), limits)?;
    }
    if !header.extension_bytes.is_multiple_of(8) {
        return Err(Refusal::Extension);
    }
    if header.head_bytes() > limits.frame_bytes_max {
        return Err(Refusal::FrameLength);
    }
    if header.value_bytes != 0 {
        check_value(op, header.value_bytes, limits)?;
    }
    Ok(op)
}

fn check_value(op: Op, value_bytes: u32, limits: &Limits) -> Result<(), Refusal> {
    let allowed = match op {
        _ if op.is_write() => limits.value_bytes_max,
        Op::Hello
        | Op::Ping
        | Op::Attach
        | Op::Pair
        | Op::Reads
        | Op::Accesses
        | Op::Doubts
        | Op::MultiGet => limits.frame_bytes_max as u64,
        Op::Increment | Op::Decrement | Op::AddSigned | Op::AddFloat if value_bytes == 8 => 8,
        Op::Increment | Op::Decrement | Op::AddSigned | Op::AddFloat => return Err(Refusal::Step),
        _ => return Err(Refusal::UnexpectedValue),
    };
    match u64::from(value_bytes) > allowed {
        false => Ok(()),
        true if op.is_write() => Err(Refusal::ValueLength),
        true => Err(Refusal::ValueOverFrame),
    }
}

/// Checks the length of a key ([N-GEN-6]).
#[inline]
pub(super) fn check_key(key_bytes: usize, limits: &Limits) -> Result<(), Refusal> {
    if key_bytes == 0 || key_bytes > limits.key_bytes_max { Err(Refusal::KeyLength) } else { Ok(()) }
}

/// What a whole frame asks for; of a streamed write, all but the value.
#[inline]
pub(super) fn work<'a>(
    op: Op,
    request: &Request<'a>,
    arrived: Millis,
    now: Millis,
) -> Result<Asked<'a>, Refusal> {
    if op == Op::Get {
        let (read, deadline) = read(op, request, arrived, now)?;
        let work = keyed(request.key, read);
        return Ok(Asked { work, kind: Kind::Outcome, echo: &[], change: None, deadline });
    }
    let options = options(op, request, arrived, now)?;
    let deadline = deadline(&options, arrived);
    if op.is_change() {
        let command = change(op, request, &options, now)?;
        let work = Work::Keyed(Command { database: 0, key: request.key, op: command });
        return Ok(Asked { work, kind: Kind::Outcome, echo: &[], change: options.change, deadline });
    }
    Ok(Asked { deadline, ..about_server(op, request, &options, now)? })
}

#[inline]
pub(super) fn keyed(key: &[u8], read: Read) -> Work<'_> {
    Work::Keyed(Command { database: 0, key, op: Do::Read(read) })
}

/// The lookup of a get or of each key of a multi-get, and its deadline.
#[inline]
pub(super) fn read(
    op: Op,
    request: &Request<'_>,
    arrived: Millis,
    now: Millis,
) -> Result<(Read, Deadline), Refusal> {
    let mut until = Deadline::NONE;
    let flags = request.header.flags;
    let mut read =
        Read { leases: flags & flags::LEASES != 0, peek: flags & flags::PEEK != 0, ..Read::default() };
    if !request.extensions.is_empty() {
        let options = options(op, request, arrived, now)?;
        until = deadline(&options, arrived);
        read.expiry = options.expiry.map_or(Expiry::Keep, |expiry| absolute(expiry, now));
        read.vivify = options.vivify.map(|expiry| absolute(expiry, now));
        read.token = options.token;
        read.recache_below_ms = options.recache_below_ms;
        read.leases |= options.vivify.is_some() || options.recache_below_ms.is_some();
    }
    if op == Op::MultiGet && !request.key.is_empty() {
        return Err(Refusal::UnexpectedKey);
    }
    Ok((read, until))
}

fn deadline(options: &Options, arrived: Millis) -> Deadline {
    options.deadline_us.map_or(Deadline::NONE, |us| Deadline::at(last_ms(us, arrived)))
}

/// The last millisecond of a deadline, whole milliseconds rounded up ([N-EXT-6]).
fn last_ms(deadline_us: u32, arrived: Millis) -> Millis {
    arrived.saturating_add(u64::from(deadline_us).div_ceil(1000))
}

/// Decodes the extensions; refuses critical ones without a meaning ([N-EXT-3]) and a passed deadline ([N-EXT-6]).
fn options(op: Op, request: &Request<'_>, arrived: Millis, now: Millis) -> Result<Options, Refusal> {
    if request.extensions.is_empty() {
        return Ok(Options::NONE);
    }
    let options = Options::parse(request.extensions)?;
    if options.critical & !meaningful(op) != 0 {
        return Err(Refusal::UnknownExtension);
    }
    if let Some(us) = options.deadline_us
        && (us == 0 || now > last_ms(us, arrived))
    {
        return Err(Refusal::Deadline);
    }
    Ok(options)
}

/// The extensions that an operation knows, one bit each.
fn meaningful(op: Op) -> u32 {
    let bits = |kinds: &[u8]| kinds.iter().fold(0, |bits, kind| bits | 1 << kind);
    bits(&[kind::DEADLINE, kind::TRACE])
        | match op {
            Op::Get | Op::MultiGet => bits(&[kind::EXPIRY, kind::VIVIFY, kind::RECACHE, kind::TOKEN]),
            Op::Set | Op::Add | Op::Replace => {
                bits(&[kind::CLIENT_FLAGS, kind::EXPIRY, kind::COMPARE, kind::TOKEN, kind::CHANGE])
            }
            Op::Append | Op::Prepend => bits(&[
                kind::CLIENT_FLAGS,
                kind::EXPIRY,
                kind::COMPARE,
                kind::TOKEN,
                kind::VIVIFY,
                kind::CHANGE,
            ]),
            Op::Delete => bits(&[kind::EXPIRY, kind::COMPARE, kind::TOKEN, kind::CHANGE]),
            Op::Expire => bits(&[kind::EXPIRY, kind::CHANGE]),
            Op::Increment | Op::Decrement | Op::AddSigned | Op::AddFloat => {
                bits(&[kind::EXPIRY, kind::COMPARE, kind::TOKEN, kind::INITIAL, kind::CHANGE])
            }
            Op::Flush => bits(&[kind::EXPIRY]),
            _ => 0,
        }
}

/// The change of an item that a keyed operation other than get asks for.
fn change<'a>(op: Op, request: &Request<'a>, options: &Options, now: Millis) -> Result<Do<'a>, Refusal> {
    let flags = request.header.flags;
    Ok(match op {
        Op::Delete => Do::Delete(Delete {
            compare: options.compare,
            token: options.token,
            stale: (flags & flags::STALE != 0)
                .then(|| options.expiry.map_or(Expiry::Keep, |expiry| absolute(expiry, now))),
            value_only: flags & flags::VALUE_ONLY != 0,
            want_old: flags & flags::WANT_OLD != 0,
            leases: false,
        }),
        Op::Expire => Do::Expire(Expire {
            expiry: absolute(options.expiry.ok_or(Refusal::ExpiryNeeded)?, now),
            condition: condition(flags)?,
            leases: false,
        }),
        Op::Increment | Op::Decrement | Op::AddSigned | Op::AddFloat => {
            Do::Arithmetic(arithmetic(op, request.value, options, now)?)
        }
        _ => Do::Write(write(op, request, options, now)),
    })
}

fn write<'a>(op: Op, request: &Request<'a>, options: &Options, now: Millis) -> Write<'a> {
    let mode = match op {
        Op::Add => WriteMode::Add,
        Op::Replace => WriteMode::Replace,
        Op::Append => WriteMode::Append,
        Op::Prepend => WriteMode::Prepend,
        _ => WriteMode::Set,
    };
    let flags = request.header.flags;
    Write {
        mode,
        value: Body::Bytes(request.value),
        flags: options.client_flags.unwrap_or(0),
        expiry: options.expiry.map_or(Expiry::Never, |expiry| absolute(expiry, now)),
        compare: options.compare,
        token: options.token,
        vivify: match mode {
            WriteMode::Append | WriteMode::Prepend => options.vivify.map(|expiry| absolute(expiry, now)),
            _ => None,
        },
        invalidate: flags & flags::INVALIDATE != 0,
        want_old: flags & flags::WANT_OLD != 0,
        leases: false,
    }
}

fn arithmetic(op: Op, value: &[u8], options: &Options, now: Millis) -> Result<Arithmetic, Refusal> {
    let step = u64::from_le_bytes(value.try_into().map_err(|_| Refusal::Step)?);
    let delta = match op {
        Op::Increment => Delta::Increment(step),
        Op::Decrement => Delta::Decrement(step),
        Op::AddSigned => Delta::Signed(step as i64),
        _ => Delta::Float(f64::from_bits(step)),
    };
    let finite = |number: f64| number.is_finite();
    let initial = options.initial.map(|initial| {
        let number = match op {
            Op::AddSigned => Number::Signed(initial.number as i64),
            Op::AddFloat => Number::Float(f64::from_bits(initial.number)),
            _ => Number::Unsigned(initial.number),
        };
        (number, absolute(initial.expiry, now))
    });
    if matches!(delta, Delta::Float(step) if !finite(step))
        || matches!(initial, Some((Number::Float(number), _)) if !finite(number))
    {
        return Err(Refusal::Step);
    }
    Ok(Arithmetic {
        delta,
        initial,
        expiry: options.expiry.map_or(Expiry::Keep, |expiry| absolute(expiry, now)),
        compare: options.compare,
        token: options.token,
        leases: false,
    })
}

fn condition(flags: u16) -> Result<ExpireCondition, Refusal> {
    Ok(match (flags & flags::CONDITION) >> flags::CONDITION_SHIFT {
        0 => ExpireCondition::Always,
        1 => ExpireCondition::Unset,
        2 => ExpireCondition::Set,
        3 => ExpireCondition::Later,
        4 => ExpireCondition::Earlier,
        5 => ExpireCondition::SetAndLater,
        6 => ExpireCondition::SetAndEarlier,
        _ => return Err(Refusal::Condition),
    })
}

/// Operations without an item.
fn about_server<'a>(
    op: Op,
    request: &Request<'a>,
    options: &Options,
    now: Millis,
) -> Result<Asked<'a>, Refusal> {
    if !request.key.is_empty() && !matches!(op, Op::Hello | Op::Statistics) {
        return Err(Refusal::UnexpectedKey);
    }
    Ok(match op {
        Op::Hello => {
            let hello = Hello::parse(request.value).map_err(|_| Refusal::HelloTooShort)?;
            if hello.version_min > VERSION || hello.version_max < VERSION {
                return Err(Refusal::Version);
            }
            Asked::local(Kind::Hello, request.value)
        }
        Op::Attach => {
            let attach = Attach::parse(request.value).map_err(|_| Refusal::AttachTooShort)?;
            if attach.layout_min > LAYOUT || attach.layout_max < LAYOUT {
                return Err(Refusal::ShmLayout);
            }
            let reads = attach.features & FEATURE_READS != 0;
            Asked { work: Work::Attach { reads }, ..Asked::local(Kind::Attach, &[]) }
        }
        Op::Pair => {
            PairEnd::parse(request.value).map_err(|_| Refusal::PairTooShort)?;
            Asked { work: Work::Pair { client: request.value }, ..Asked::local(Kind::Pair, &[]) }
        }
        Op::Reads => {
            ReadsAsked::parse(request.value).map_err(|_| Refusal::ReadsTooShort)?;
            Asked { work: Work::Reads { asked: request.value }, ..Asked::local(Kind::Reads, &[]) }
        }
        Op::Accesses => {
            Accesses::parse(request.value).map_err(|_| Refusal::Accesses)?;
            Asked { work: Work::Told(Told::Accesses, request.value), ..Asked::local(Kind::Echo, &[]) }
        }
        Op::Doubts => {
            Doubts::parse(request.value).map_err(|_| Refusal::Doubts)?;
            Asked { work: Work::Told(Told::Doubts, request.value), ..Asked::local(Kind::Echo, &[]) }
        }
        Op::Topology => Asked::local(Kind::Topology, &[]),
        Op::Statistics => Asked::local(Kind::Statistics, request.key),
        Op::Flush => {
            let at = match options.expiry {
                None => None,
                Some(native::Expiry::In(_) | native::Expiry::At(_)) => {
                    match options.expiry.map(|expiry| absolute(expiry, now)) {
                        Some(Expiry::At(at)) if at > now => Some(at),
                        _ => None,
                    }
                }
                Some(_) => return Err(Refusal::FlushTime),
            };
            Asked { work: Work::Flush { at }, ..Asked::local(Kind::Outcome, &[]) }
        }
        _ => Asked::local(Kind::Echo, request.value),
    })
}

/// The protocol's expiry in the engine's terms ([N-EXT-5]).
fn absolute(expiry: native::Expiry, now: Millis) -> Expiry {
    match expiry {
        native::Expiry::Keep => Expiry::Keep,
        native::Expiry::Never => Expiry::Never,
        native::Expiry::In(ms) => Expiry::At(now.saturating_add(ms)),
        native::Expiry::At(ms) => Expiry::At(ms),
    }
}

const _: () = assert!(CREDIT > 0, "a session that may ask nothing is none");
