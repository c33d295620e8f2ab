//! Messages: PUBLISH, PUBSUB, and what subscribers are told.

use super::call::{Call, local, part};
use super::error::Error;
use super::reply_kind::Kind;
use crate::session::answer::Answer;
use crate::session::messages::{About, Channels, Inspect};
use crate::session::output::Output;
use crate::session::part::{Part, Work};
use torc_engine::words;
use torc_proto::resp::compose::{self, Version};

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

/// What ends all subscriptions of a kind.
pub(super) fn unsubscribe_all<'a>(of: Channels) -> Part<'a> {
    let about = About::UnsubscribeAll(of);
    part(Work::Messages { about, name: &[], message: &[] }, Kind::Unsubscriptions(of), &[])
}

/// What a RESET does first.
pub(super) fn forget<'a>() -> Part<'a> {
    part(Work::Messages { about: About::Forget, name: &[], message: &[] }, Kind::Silent, &[])
}

pub(super) fn publish<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    published(call, false, parts)
}

pub(super) fn publish_sharded<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    published(call, true, parts)
}

fn published<'a>(call: &Call<'_, 'a>, sharded: bool, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let (name, message) = (call.key(1)?, call.argument(2));
    if message.len() as u64 > call.limits.value_bytes_max {
        return Err(Error::ValueTooLong);
    }
    let work = Work::Messages { about: About::Publish { sharded }, name, message };
    parts.push(part(work, Kind::Published, &[]));
    Ok(())
}

const HELP: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
    "HELP",
    "    Prints this help.",
];

/// What PUBSUB is asked for.
enum Asked {
    Names(Channels),
    Counts(Channels),
    Patterns,
    Help,
}

impl Asked {
    fn of(call: &Call<'_, '_>) -> Result<Asked, Error> {
        match &call.argument(1).to_ascii_lowercase()[..] {
            b"channels" => Ok(Asked::Names(Channels::Named)),
            b"shardchannels" => Ok(Asked::Names(Channels::Sharded)),
            b"numsub" => Ok(Asked::Counts(Channels::Named)),
            b"shardnumsub" => Ok(Asked::Counts(Channels::Sharded)),
            b"numpat" => Ok(Asked::Patterns),
            b"help" => Ok(Asked::Help),
            _ => Err(Error::UnknownSubcommand),
        }
    }
}

pub(super) fn pubsub<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let (inspect, name) = match Asked::of(call)? {
        Asked::Help => {
            parts.push(local(Kind::Help(HELP), &[]));
            return Ok(());
        }
        Asked::Names(_) if call.len() > 3 => return Err(Error::SubcommandSyntax),
        Asked::Names(of) => (Inspect::Names { of, filtered: call.len() == 3 }, call.argument(2)),
        Asked::Counts(of) => (Inspect::Counts(of), names(call)),
        Asked::Patterns => (Inspect::Patterns, &[][..]),
    };
    let work = Work::Messages { about: About::Inspect(inspect), name, message: &[] };
    parts.push(part(work, Kind::Inspected(inspect), name));
    Ok(())
}

/// The names behind the subcommand, as words.
fn names<'a>(call: &Call<'_, 'a>) -> &'a [u8] {
    let mut names = Vec::new();
    for name in call.arguments_from(2) {
        words::begin(name.len() as u32, &mut names);
        names.extend_from_slice(name);
    }
    call.scratch.keep(&names)
}

/// The head of a frame that answers no request; the version of RESP2 has arrays for that.
pub(super) fn head(version: Version, elements: usize, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => compose::array(out, elements),
        Version::Resp3 => compose::push(out, elements),
    }
}

/// Writes what became of a subscription; of none at all without a name.
fn subscription(
    (begins, of): (bool, Channels),
    name: Option<&[u8]>,
    count: i64,
    version: Version,
    out: &mut Vec<u8>,
) {
    let word = match (begins, of) {
        (true, Channels::Named) => "subscribe",
        (true, Channels::Matching) => "psubscribe",
        (true, Channels::Sharded) => "ssubscribe",
        (false, Channels::Named) => "unsubscribe",
        (false, Channels::Matching) => "punsubscribe",
        (false, Channels::Sharded) => "sunsubscribe",
    };
    head(version, 3, out);
    compose::bulk(out, word.as_bytes());
    match name {
        Some(name) => compose::bulk(out, name),
        None => compose::null(out, version),
    }
    compose::integer(out, count);
}

/// Writes the answer to a part of these kinds that is no failure.
pub(super) fn compose(kind: Kind, echo: &[u8], answer: &Answer<'_>, version: Version, out: &mut Output) {
    let out = out.tail();
    match (kind, answer) {
        (Kind::PongAmongMessages, _) => {
            compose::array(out, 2);
            compose::bulk(out, b"pong");
            compose::bulk(out, echo);
        }
        (Kind::Subscription { begins, of }, _) => {
            subscription((begins, of), Some(echo), answer.count(), version, out);
        }
        (Kind::Unsubscriptions(of), &Answer::Unsubscribed { names, left }) => {
            let count = words::each(names).count() as i64;
            let left = i64::try_from(left).unwrap_or(i64::MAX);
            for (name, gone) in words::each(names).zip(1..) {
                subscription((false, of), Some(name), left + count - gone, version, out);
            }
            if count == 0 {
                subscription((false, of), None, left, version, out);
            }
        }
        (Kind::Published, _) => compose::integer(out, answer.count()),
        (Kind::Inspected(inspect), Answer::Inspected(found)) => inspected(inspect, echo, found, out),
        _ => {}
    }
}

/// Puts together what the shards have found.
fn inspected(inspect: Inspect, asked: &[u8], found: &[u8], out: &mut Vec<u8>) {
    let Inspect::Counts(_) = inspect else {
        let mut names: Vec<&[u8]> = words::each(found).collect();
        names.sort_unstable();
        names.dedup();
        if inspect == Inspect::Patterns {
            return compose::integer(out, names.len() as i64);
        }
        compose::array(out, names.len());
        return names.iter().for_each(|name| compose::bulk(out, name));
    };
    let count = words::each(asked).count();
    let mut sums = vec![0i64; count];
    for (number, place) in words::each(found).zip((0..count).cycle()) {
        sums[place] += number.try_into().map_or(0, i64::from_le_bytes);
    }
    compose::array(out, 2 * count);
    for (name, sum) in words::each(asked).zip(sums) {
        compose::bulk(out, name);
        compose::integer(out, sum);
    }
}
