//! The words of a line, as the request that they are.

use super::{Get, LineLimits, Request, Store, StoreVerb};
use crate::memcache::invalid::Invalid;
use crate::memcache::meta::{Meta, MetaVerb};
use crate::memcache::number::{length, signed, unsigned};
use crate::memcache::steering;
use crate::memcache::words::Words;

#[inline]
pub(super) fn command<'a>(line: &'a [u8], limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let mut words = Words::new(line);
    let verb = words.next().ok_or(Invalid::Command)?;
    match verb {
        b"get" => get(words, limits, false, None),
        b"set" => store(StoreVerb::Set, words, limits),
        b"mg" => meta(MetaVerb::Get, words, limits),
        b"ms" => meta(MetaVerb::Set, words, limits),
        _ => rare_command(verb, words, limits),
    }
}

fn rare_command<'a>(verb: &[u8], mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    match verb {
        b"bget" => get(words, limits, false, None),
        b"gets" => get(words, limits, true, None),
        b"gat" | b"gats" => {
            let exptime = words.next().ok_or(Invalid::Command)?;
            let exptime = signed(exptime).ok_or(Invalid::Exptime)?;
            get(words, limits, verb == b"gats", Some(exptime))
        }
        b"add" => store(StoreVerb::Add, words, limits),
        b"replace" => store(StoreVerb::Replace, words, limits),
        b"append" => store(StoreVerb::Append, words, limits),
        b"prepend" => store(StoreVerb::Prepend, words, limits),
        b"cas" => store(StoreVerb::Cas, words, limits),
        b"md" => meta(MetaVerb::Delete, words, limits),
        b"ma" => meta(MetaVerb::Arithmetic, words, limits),
        b"me" => meta(MetaVerb::Debug, words, limits),
        b"mn" => Ok(Request::MetaNoop),
        b"delete" => delete(words, limits),
        b"incr" => count(words, limits, false),
        b"decr" => count(words, limits, true),
        b"touch" => touch(words, limits),
        b"flush_all" => flush(words),
        b"verbosity" => steering::verbosity(words),
        b"version" => Ok(Request::Version),
        b"stats" => steering::stats(words),
        b"quit" => Ok(Request::Quit),
        b"shutdown" => Ok(steering::shutdown(words)),
        b"cache_memlimit" => steering::memory_limit(words),
        b"lru_crawler" => steering::crawler(words),
        b"lru" => steering::lru(words),
        b"slabs" => steering::slabs(words),
        b"watch" => steering::watch(words),
        _ => Err(Invalid::Command),
    }
}

#[inline]
fn meta<'a>(verb: MetaVerb, words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    Meta::parse(verb, words, limits).map(Request::Meta)
}

#[inline]
fn key<'a>(words: &mut Words<'a>, limits: &LineLimits) -> Result<&'a [u8], Invalid> {
    let (key, plain) = words.checked().ok_or(Invalid::Command)?;
    (plain && key.len() <= limits.key_bytes_max).then_some(key).ok_or(Invalid::Key)
}

#[inline]
fn get<'a>(
    mut words: Words<'a>,
    limits: &LineLimits,
    cas: bool,
    exptime: Option<i64>,
) -> Result<Request<'a>, Invalid> {
    let mut keys = words.rest();
    let first = key(&mut words, limits)?;
    let mut count = 1;
    while let Some((key, plain)) = words.checked() {
        if !plain || key.len() > limits.key_bytes_max {
            return Err(Invalid::Key);
        }
        count += 1;
        if count > limits.keys_max {
            return Err(Invalid::TooManyKeys);
        }
    }
    if count == 1 {
        keys = first;
    }
    Ok(Request::Get(Get { key: first, keys, cas, exptime }))
}

#[inline]
fn store<'a>(verb: StoreVerb, mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits);
    let mut word = || words.next().ok_or(Invalid::Command);
    let (flags, exptime, bytes) = (word()?, word()?, word()?);
    let cas = if verb == StoreVerb::Cas { Some(word()?) } else { None };
    // memcached takes any one word more, and only `noreply` as meaning something.
    let noreply = match words.next() {
        None => false,
        Some(word) => {
            if words.next().is_some() {
                return Err(Invalid::Command);
            }
            word == b"noreply"
        }
    };
    let number = |word| unsigned(word).ok_or(Invalid::Format);
    Ok(Request::Store(Store {
        verb,
        key: key?,
        flags: u32::try_from(number(flags)?).map_err(|_| Invalid::Format)?,
        exptime: signed(exptime).ok_or(Invalid::Format)?,
        bytes: length(bytes).ok_or(Invalid::Format)?,
        cas: cas.map_or(Ok(0), number)?,
        noreply,
    }))
}

fn delete<'a>(mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits)?;
    let noreply = match (words.next(), words.next(), words.next()) {
        (None, _, _) | (Some(b"0"), None, _) => false,
        (Some(b"noreply"), None, _) | (Some(b"0"), Some(b"noreply"), None) => true,
        (_, _, Some(_)) => return Err(Invalid::Command),
        _ => return Err(Invalid::DeleteUsage),
    };
    Ok(Request::Delete { key, noreply })
}

/// The words behind a key: one, and perhaps `noreply`.
fn argument<'a>(words: &mut Words<'a>) -> Result<(&'a [u8], bool), Invalid> {
    let argument = words.next().ok_or(Invalid::Command)?;
    let noreply = words.next() == Some(b"noreply");
    if words.next().is_some() {
        return Err(Invalid::Command);
    }
    Ok((argument, noreply))
}

fn count<'a>(mut words: Words<'a>, limits: &LineLimits, down: bool) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits);
    let (delta, noreply) = argument(&mut words)?;
    let key = key?;
    let delta = unsigned(delta).ok_or(Invalid::Delta)?;
    Ok(Request::Count { key, delta, down, noreply })
}

fn touch<'a>(mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits);
    let (exptime, noreply) = argument(&mut words)?;
    let key = key?;
    let exptime = signed(exptime).ok_or(Invalid::Exptime)?;
    Ok(Request::Touch { key, exptime, noreply })
}

fn flush<'a>(mut words: Words<'_>) -> Result<Request<'a>, Invalid> {
    match (words.next(), words.next(), words.next()) {
        (None, _, _) => Ok(Request::Flush { delay: 0, noreply: false }),
        (Some(b"noreply"), None, _) => Ok(Request::Flush { delay: 0, noreply: true }),
        (Some(delay), last, None) => {
            let delay = signed(delay).ok_or(Invalid::Exptime)?;
            Ok(Request::Flush { delay, noreply: last == Some(b"noreply") })
        }
        _ => Err(Invalid::Command),
    }
}
