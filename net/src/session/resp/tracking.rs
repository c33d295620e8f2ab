//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO, and what a client is told of keys that have changed.
//!
//! Which commands CACHING is about is found when they are parsed: behind the next command, or the transaction that begins with it, stands a
//! part that ends it (`caching.rs`).

use super::call::{Call, part};
use super::error::Error;
use super::errors;
use super::messages;
use super::reply_kind::{Kind, OfTracking};
use crate::session::answer::Answer;
use crate::session::part::{Part, Work};
use crate::session::push::{About, Push};
use crate::session::tracking::{Mode, NotTracked, Tracked, Tracking, Which};
use torc_engine::words;
use torc_proto::resp::compose::{self, Version};

/// The channel on which a subscriber in RESP2 is told.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Appends the part of a subcommand that is one of these, and says whether it is.
pub(super) fn parts<'a>(call: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<bool, Error> {
    let is = |index: usize, name: &str| call.argument(index).eq_ignore_ascii_case(name.as_bytes());
    let (asked, told, prefixes, echo) = match () {
        () if is(1, "TRACKING") => {
            let (asked, prefixes, unfit) = tracking(call)?;
            match unfit {
                None => (asked, OfTracking::Ok, prefixes, &[][..]),
                Some(error) => (Tracking::Look, OfTracking::Unfit(error), &[][..], call.frame),
            }
        }
        () if is(1, "CACHING") => match caching(call) {
            Some(caches) => (Tracking::Caching(caches), OfTracking::Ok, &[][..], &[][..]),
            None => (Tracking::Look, OfTracking::BadCaching, &[][..], &[][..]),
        },
        () if is(1, "GETREDIR") => (Tracking::Look, OfTracking::Redirect, &[][..], &[][..]),
        () if is(1, "TRACKINGINFO") => (Tracking::Look, OfTracking::Info, &[][..], &[][..]),
        () => return Ok(false),
    };
    parts.push(part(Work::Tracking { asked, prefixes }, Kind::Tracking(told), echo));
    Ok(true)
}

/// What ends all, without an answer.
pub(super) fn end<'a>() -> Part<'a> {
    part(Work::Tracking { asked: Tracking::End, prefixes: &[] }, Kind::Silent, &[])
}

fn caching(call: &Call<'_, '_>) -> Option<bool> {
    match &call.argument(2).to_ascii_lowercase()[..] {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

/// Whether the request is a CACHING that may be accepted.
pub(super) fn is_caching(call: &Call<'_, '_>) -> bool {
    call.row.name == "client"
        && call.len() == 3
        && call.argument(1).eq_ignore_ascii_case(b"CACHING")
        && caching(call).is_some()
}

/// Reads the options of TRACKING: what is asked, the prefixes as words, and what does not fit together, which is looked at when it is
/// known how the client is told by now.
fn tracking<'a>(call: &Call<'_, 'a>) -> Result<(Tracking, &'a [u8], Option<Error>), Error> {
    let (mut mode, mut opt_in, mut opt_out, mut by_prefixes) = (Mode::default(), false, false, false);
    let mut prefixes: Vec<&[u8]> = Vec::new();
    let mut index = 3;
    while index < call.len() {
        let has_more = index + 1 < call.len();
        match &call.argument(index).to_ascii_lowercase()[..] {
            b"redirect" if has_more => {
                if mode.redirect != 0 {
                    return Err(Error::SecondRedirect);
                }
                index += 1;
                // Nobody has a number below 1.
                mode.redirect =
                    u64::try_from(call.integer(index)?).ok().filter(|id| *id > 0).ok_or(Error::NoRedirect)?;
            }
            b"prefix" if has_more => {
                index += 1;
                prefixes.push(call.key(index)?);
            }
            b"bcast" => by_prefixes = true,
            b"optin" => opt_in = true,
            b"optout" => opt_out = true,
            b"noloop" => mode.no_loop = true,
            _ => return Err(Error::Syntax),
        }
        index += 1;
    }
    match &call.argument(2).to_ascii_lowercase()[..] {
        b"off" => return Ok((Tracking::End, &[], None)),
        b"on" => {}
        _ => return Err(Error::Syntax),
    }
    let unfit = |error| Ok((Tracking::Look, &[][..], Some(error)));
    mode.which = match (by_prefixes, opt_in, opt_out) {
        (false, ..) if !prefixes.is_empty() => return Err(Error::PrefixWithoutBcast),
        (true, false, false) => Which::Prefixes,
        (true, ..) => return unfit(Error::OptWithBcast),
        (false, true, true) => return unfit(Error::OptInAndOut),
        (false, true, false) => Which::OptIn,
        (false, false, true) => Which::OptOut,
        (false, false, false) => Which::Read,
    };
    for (number, prefix) in prefixes.iter().enumerate() {
        let overlaps = |other: &&&[u8]| other.starts_with(prefix) || prefix.starts_with(other);
        if let Some(other) = prefixes[number + 1..].iter().find(overlaps) {
            return unfit(Error::PrefixesOverlap(place_of(call, prefix), place_of(call, other)));
        }
    }
    Ok((Tracking::Begin(mode), call.scratch.keep(&words_of(&prefixes)), None))
}

/// The number of the last argument that is this one: where two are equal, either may be named.
fn place_of(call: &Call<'_, '_>, word: &[u8]) -> u32 {
    (3..call.len()).rfind(|&index| call.argument(index) == word).unwrap_or_default() as u32
}

fn words_of(all: &[&[u8]]) -> Vec<u8> {
    let mut list = Vec::new();
    for word in all {
        words::begin(word.len() as u32, &mut list);
        list.extend_from_slice(word);
    }
    list
}

/// Writes the answer to a part of this kind.
///
/// # Errors
/// What is to be written in place of it.
pub(super) fn compose(
    told: OfTracking,
    answer: &Answer<'_>,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let Answer::Tracking { outcome, words } = answer else {
        compose::simple(out, "OK");
        return Ok(());
    };
    match (outcome, told) {
        (Err(NotTracked::Overlaps), _) => {
            let mut prefixes = words::each(words);
            let (new, other) = (prefixes.next().unwrap_or_default(), prefixes.next().unwrap_or_default());
            errors::overlap(new, other, "an existing", out);
        }
        (Err(why), _) => return Err(refused(*why)),
        // Redis looks at the word last.
        (Ok(Tracked { mode: None, .. }), OfTracking::BadCaching) => return Err(Error::NotCaching),
        (Ok(_), OfTracking::BadCaching) => return Err(Error::Syntax),
        // What is unfit without prefixes is OPTIN with OPTOUT alone.
        (Ok(Tracked { mode: Some(mode), .. }), OfTracking::Unfit(error))
            if (mode.which == Which::Prefixes) == (error == Error::OptInAndOut) =>
        {
            return Err(Error::SwitchesBcast);
        }
        (Ok(_), OfTracking::Unfit(error)) => return Err(error),
        (Ok(_), OfTracking::Ok) => compose::simple(out, "OK"),
        (Ok(tracked), OfTracking::Redirect) => compose::integer(out, redirect(tracked)),
        (Ok(tracked), OfTracking::Info) => info(tracked, words, version, out),
    }
    Ok(())
}

/// -1: it is not told.
pub(super) fn redirect(tracked: &Tracked) -> i64 {
    tracked.mode.map_or(-1, |mode| i64::try_from(mode.redirect).unwrap_or(i64::MAX))
}

fn refused(why: NotTracked) -> Error {
    match why {
        NotTracked::NoClient | NotTracked::Overlaps => Error::NoRedirect,
        NotTracked::SwitchesPrefixes => Error::SwitchesBcast,
        NotTracked::SwitchesOpt => Error::SwitchesOpt,
        NotTracked::NotCaching => Error::NotCaching,
        NotTracked::NoOptIn => Error::CachingWithoutOptIn,
        NotTracked::NoOptOut => Error::CachingWithoutOptOut,
        NotTracked::TooManyPrefixes => Error::TooManyPrefixes,
    }
}

fn info(tracked: &Tracked, prefixes: &[u8], version: Version, out: &mut Vec<u8>) {
    let mut flags = vec![if tracked.mode.is_some() { "on" } else { "off" }];
    if let Some(mode) = tracked.mode {
        let (which, caching) = match mode.which {
            Which::Read => (None, None),
            Which::Prefixes => (Some("bcast"), None),
            Which::OptIn => (Some("optin"), Some("caching-yes")),
            Which::OptOut => (Some("optout"), Some("caching-no")),
        };
        flags.extend(which);
        flags.extend(caching.filter(|_| tracked.caching));
        flags.extend(Some("noloop").filter(|_| mode.no_loop));
        flags.extend(Some("broken_redirect").filter(|_| tracked.is_broken));
    }
    compose::map(out, 3, version);
    compose::bulk(out, b"flags");
    compose::set(out, flags.len(), version);
    flags.iter().for_each(|flag| compose::bulk(out, flag.as_bytes()));
    compose::bulk(out, b"redirect");
    compose::integer(out, redirect(tracked));
    compose::bulk(out, b"prefixes");
    let prefixes = words::each(prefixes);
    compose::array(out, prefixes.clone().count());
    prefixes.for_each(|prefix| compose::bulk(out, prefix));
}

/// Writes what a client is told of keys that have changed, if it can be told in this version. `subscribes`: it may be told by a message.
pub(super) fn push(push: Push<'_>, version: Version, subscribes: bool, out: &mut Vec<u8>) -> bool {
    match (push.about(), version) {
        (About::Words, _) => {
            messages::head(version, push.words().count(), out);
            push.words().for_each(|word| compose::bulk(out, word));
            return true;
        }
        (About::Broken, Version::Resp3) => {
            compose::push(out, 2);
            compose::bulk(out, b"tracking-redir-broken");
            let number =
                push.words().next().and_then(|word| word.try_into().ok()).map_or(0, i64::from_le_bytes);
            compose::integer(out, number);
            return true;
        }
        (About::Keys { .. }, Version::Resp3) => {
            compose::push(out, 2);
            compose::bulk(out, b"invalidate");
        }
        (About::Keys { redirected: true }, Version::Resp2) if subscribes => {
            compose::array(out, 3);
            compose::bulk(out, b"message");
            compose::bulk(out, CHANNEL);
        }
        (About::Keys { .. } | About::Broken, Version::Resp2) => return false,
    }
    match push.words().count() {
        0 => compose::null(out, version),
        count => {
            compose::array(out, count);
            push.words().for_each(|word| compose::bulk(out, word));
        }
    }
    true
}
