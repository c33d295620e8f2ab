//! Requests of the protocol in the engine's words.

use super::reply_kind::{Kind, LineKind, ReplyKind};
use super::stats;
use crate::observed::Sees;
use crate::session::part::{self, Part, Work};
use crate::session::walk::Over;
use torc_engine::command::{
    Arithmetic, Body, Command, Delete, Delta, Expire, ExpireCondition, Expiry, Millis, Number, Op, Read,
    Write, WriteMode,
};
use torc_proto::memcache::request::{Get, Request, Store, StoreVerb};
use torc_proto::memcache::{MetaFlags, MetaVerb, Words};

/// Longest time that counts from now, seconds; a larger number is a time of the Unix epoch.
const RELATIVE_SECONDS_MAX: i64 = 60 * 60 * 24 * 30;

/// The protocol's expiry: 0 never, below 0 at once, up to 30 days seconds from now, else Unix seconds. Its lowest 32 bits count, as in memcached:
/// clients send -1 as 4294967295, too.
#[inline]
pub(super) fn expiry(exptime: i64, now: Millis) -> Expiry {
    let exptime = i64::from(exptime as i32);
    match exptime {
        0 => Expiry::Never,
        i64::MIN..0 => Expiry::At(now),
        1..=RELATIVE_SECONDS_MAX => Expiry::At(now.saturating_add(millis(exptime))),
        _ => Expiry::At(millis(exptime)),
    }
}

/// Milliseconds of non-negative seconds.
fn millis(seconds: i64) -> Millis {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}

/// What a retrieval does with each of its keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retrieval {
    expiry: Expiry,
    cas: bool,
}

impl Retrieval {
    #[inline]
    pub(super) fn new(get: &Get<'_>, now: Millis) -> Retrieval {
        let expiry = get.exptime.map_or(Expiry::Keep, |exptime| expiry(exptime, now));
        Retrieval { expiry, cas: get.cas }
    }

    /// The part of one key; the last one ends the answer.
    #[inline]
    pub(super) fn item<'a>(&self, key: &'a [u8], last: bool) -> Part<'a> {
        let op = Op::Read(Read { expiry: self.expiry, ..Read::default() });
        part(Work::Keyed(Command { database: 0, key, op }), Kind::Item { cas: self.cas, last })
    }

    /// Appends one part a key, as many as there is room for. Says how many bytes of `keys` are left, from the next key on.
    pub(super) fn items<'a>(&self, keys: &'a [u8], parts: &mut Vec<Part<'a>>, parts_max: usize) -> usize {
        let mut words = Words::new(keys);
        let mut next = words.next();
        while let Some(key) = next
            && parts.len() < parts_max
        {
            next = words.next();
            parts.push(self.item(key, next.is_none()));
        }
        next.map_or(0, |key| key.len() + words.rest().len())
    }
}

/// The requests that are one part without value.
pub(super) fn plain<'a>(request: &Request<'a>, now: Millis) -> Part<'a> {
    let said = |noreply: bool, kind| if noreply { Kind::Silent } else { Kind::Line(kind) };
    match *request {
        Request::Delete { key, noreply } => {
            let op = Op::Delete(Delete { leases: true, ..Delete::default() });
            part(Work::Keyed(Command { database: 0, key, op }), said(noreply, LineKind::Delete))
        }
        Request::Touch { key, exptime, noreply } => {
            let expiry = expiry(exptime, now);
            let op = Op::Expire(Expire { expiry, condition: ExpireCondition::Always, leases: true });
            part(Work::Keyed(Command { database: 0, key, op }), said(noreply, LineKind::Touch))
        }
        Request::Count { key, delta, down, noreply } => {
            let op = Op::Arithmetic(Arithmetic {
                delta: if down { Delta::Decrement(delta) } else { Delta::Increment(delta) },
                initial: None,
                expiry: Expiry::Keep,
                compare: None,
                token: None,
                leases: true,
            });
            part(Work::Keyed(Command { database: 0, key, op }), said(noreply, LineKind::Count))
        }
        Request::Flush { delay, noreply } => {
            let at = match expiry(delay, now) {
                Expiry::At(at) if at > now => Some(at),
                _ => None,
            };
            part(Work::Flush { at }, said(noreply, LineKind::Ok))
        }
        Request::Accepted { noreply } => part(Work::Local, said(noreply, LineKind::Ok)),
        Request::MemoryLimit { megabytes, noreply } => {
            part(Work::Local, Kind::MemoryLimit { megabytes, noreply })
        }
        Request::Dump { dump, has_any } => {
            let over = Over::Dump(dump);
            part(if has_any { Work::Walk { database: 0, over } } else { Work::Local }, Kind::Dump(dump))
        }
        Request::Version => part(Work::Local, Kind::Line(LineKind::Version)),
        Request::MetaNoop => part(Work::Local, Kind::Line(LineKind::MetaNoop)),
        Request::Watch { watched } => part(Work::Monitor { sees: Some(Sees::Events(watched)) }, Kind::Watch),
        Request::Shutdown { is_known } => part(Work::Local, Kind::Shutdown { is_known }),
        Request::Stats { what } => stats::part(what),
        Request::Quit | Request::Get(_) | Request::Store(_) | Request::Meta(_) => {
            part(Work::Local, Kind::Silent)
        }
    }
}

/// A storage command, its value still empty.
#[inline]
pub(super) fn store<'a>(store: &Store<'a>, now: Millis) -> Command<'a> {
    let (mode, compare) = match store.verb {
        StoreVerb::Set => (WriteMode::Set, None),
        StoreVerb::Add => (WriteMode::Add, None),
        StoreVerb::Replace => (WriteMode::Replace, None),
        StoreVerb::Append => (WriteMode::Append, None),
        StoreVerb::Prepend => (WriteMode::Prepend, None),
        StoreVerb::Cas => (WriteMode::Set, Some(store.cas)),
    };
    let expiry = match mode {
        WriteMode::Append | WriteMode::Prepend => Expiry::Keep,
        _ => expiry(store.exptime, now),
    };
    let write = Write { mode, flags: store.flags, expiry, compare, leases: true, ..Write::set(&[]) };
    Command { database: 0, key: store.key, op: Op::Write(write) }
}

/// Puts the value into a `Write`.
#[inline]
pub(super) fn with_value<'a>(mut command: Command<'a>, value: &'a [u8]) -> Command<'a> {
    if let Op::Write(write) = &mut command.op {
        write.value = Body::Bytes(value);
    }
    command
}

/// A meta command; `key` is decoded, the value of an `ms` still empty.
#[inline]
pub(super) fn meta<'a>(verb: MetaVerb, key: &'a [u8], flags: &MetaFlags, now: Millis) -> Command<'a> {
    let op = match verb {
        MetaVerb::Get => Op::Read(meta_read(flags, now)),
        MetaVerb::Set => Op::Write(meta_write(flags, now)),
        MetaVerb::Delete => Op::Delete(Delete {
            compare: flags.compare(),
            token: flags.token(),
            stale: flags.has(b'I').then(|| new_expiry(flags, now).unwrap_or(Expiry::Keep)),
            value_only: flags.has(b'x'),
            want_old: false,
            leases: true,
        }),
        MetaVerb::Arithmetic => Op::Arithmetic(meta_arithmetic(flags, now)),
        MetaVerb::Debug => Op::Read(Read { peek: true, inspect: true, ..Read::default() }),
    };
    Command { database: 0, key, op }
}

fn new_expiry(flags: &MetaFlags, now: Millis) -> Option<Expiry> {
    flags.ttl().map(|ttl| expiry(ttl, now))
}

/// The expiry of an item that is made on a miss: of `N` and `T`, the one that stands later in the request.
fn vivify(flags: &MetaFlags, now: Millis) -> Option<Expiry> {
    let ttl = flags.vivify()?;
    let new = new_expiry(flags, now).filter(|_| flags.is_before_ttl(b'N'));
    Some(new.unwrap_or_else(|| expiry(ttl, now)))
}

#[inline]
fn meta_read(flags: &MetaFlags, now: Millis) -> Read {
    let new = new_expiry(flags, now);
    Read {
        expiry: new.unwrap_or(Expiry::Keep),
        vivify: vivify(flags, now),
        token: flags.token(),
        recache_below_ms: flags.recache().map(|ttl| below(ttl, now)),
        recache_by_new: new.is_some() && !flags.is_before_ttl(b'R'),
        show_old_expiry: flags.is_before_ttl(b't'),
        leases: true,
        inspect: false,
        peek: flags.has(b'u'),
        decides: false,
        uncounted: false,
    }
}

/// Time to live below which `R` asks for a new value, milliseconds. The flag's number is an expiry like all others, so 0
/// means never.
fn below(ttl: i64, now: Millis) -> u64 {
    match expiry(ttl, now) {
        Expiry::At(at) => at.saturating_sub(now),
        Expiry::Keep | Expiry::Never => 0,
    }
}

#[inline]
fn meta_write(flags: &MetaFlags, now: Millis) -> Write<'static> {
    let mode = match flags.mode() {
        Some(b'E') => WriteMode::Add,
        Some(b'A') => WriteMode::Append,
        Some(b'P') => WriteMode::Prepend,
        Some(b'R') => WriteMode::Replace,
        _ => WriteMode::Set,
    };
    let joins = matches!(mode, WriteMode::Append | WriteMode::Prepend);
    let expiry_given = new_expiry(flags, now).unwrap_or(Expiry::Never);
    // memcached's add looks at no token, and a replace with one is a cas.
    // For append and prepend a token of 0 means none.
    let compare = flags.compare().filter(|token| mode != WriteMode::Add && !(joins && *token == 0));
    let mode = if compare.is_some() && mode == WriteMode::Replace { WriteMode::Set } else { mode };
    Write {
        mode,
        flags: flags.client_flags(),
        expiry: if joins { Expiry::Keep } else { expiry_given },
        compare,
        token: flags.token(),
        vivify: flags.vivify().filter(|_| joins).map(|ttl| expiry(ttl, now)),
        invalidate: flags.has(b'I') && !joins && compare.is_some_and(|token| token != 0),
        leases: true,
        ..Write::set(&[])
    }
}

fn meta_arithmetic(flags: &MetaFlags, now: Millis) -> Arithmetic {
    Arithmetic {
        delta: match flags.mode() {
            Some(b'D' | b'-') => Delta::Decrement(flags.delta()),
            _ => Delta::Increment(flags.delta()),
        },
        initial: vivify(flags, now).map(|expiry| (Number::Unsigned(flags.initial()), expiry)),
        expiry: new_expiry(flags, now).unwrap_or(Expiry::Keep),
        compare: flags.compare().filter(|token| *token != 0),
        token: flags.token(),
        leases: true,
    }
}

#[inline]
pub(super) fn part(work: Work<'_>, reply: Kind) -> Part<'_> {
    Part { work, reply: part::ReplyKind::Memcache(ReplyKind(reply)), echo: &[], once: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_values_mean_what_memcached_means() {
        const NOW: Millis = 1_800_000_000_500;
        for (exptime, expected) in [
            (0, Expiry::Never),
            (-1, Expiry::At(NOW)),
            (i32::MIN.into(), Expiry::At(NOW)),
            (1, Expiry::At(NOW + 1000)),
            (2_592_000, Expiry::At(NOW + 2_592_000_000)),
            (2_592_001, Expiry::At(2_592_001_000)),
            (1_900_000_000, Expiry::At(1_900_000_000_000)),
            (i64::from(i32::MAX), Expiry::At(i32::MAX as u64 * 1000)),
            (u32::MAX.into(), Expiry::At(NOW)),
            (1 << 31, Expiry::At(NOW)),
            (1 << 32, Expiry::Never),
            (i64::MAX, Expiry::At(NOW)),
        ] {
            assert_eq!(expiry(exptime, NOW), expected, "{exptime}");
        }
    }
}
