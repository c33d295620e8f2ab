//! Commands that steer a server, or look into it: `lru_crawler`, `slabs`, `lru`, `cache_memlimit`, `verbosity`, `watch`, `shutdown`.
//!
//! Memory is not steered as memcached's is: what it would take without an error is taken here, and changes nothing. All items are of one
//! class, which is [`CLASS`].

use super::invalid::Invalid;
use super::number::{signed, unsigned};
use super::request::Request;
use super::words::Words;

/// The class of all items.
pub const CLASS: u32 = 1;
/// Numbers of classes are below this.
const CLASSES: u32 = 64;

/// In whose words `lru_crawler` and `stats cachedump` tell keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    /// `metadump`: a line of facts a key.
    Meta,
    /// `mgdump`: an `mg` a key.
    Get,
    /// `stats cachedump`: a line a key, so many at most.
    Items { max: u32 },
}

/// Which events a watcher is told of: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watched(u8);

impl Watched {
    pub const FETCHERS: Watched = Watched(1);
    pub const MUTATIONS: Watched = Watched(1 << 1);
    pub const EVICTIONS: Watched = Watched(1 << 2);
    pub const CONNECTIONS: Watched = Watched(1 << 3);
    pub const DELETIONS: Watched = Watched(1 << 4);

    pub const fn with(self, other: Watched) -> Watched {
        Watched(self.0 | other.0)
    }

    /// Whether it has any of these.
    #[inline]
    pub const fn has(self, any: Watched) -> bool {
        self.0 & any.0 != 0
    }

    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    pub const fn of_bits(bits: u8) -> Watched {
        Watched(bits)
    }
}

/// The level is checked and changes nothing: what is logged is a setting of the server.
pub(super) fn verbosity<'a>(mut words: Words<'_>) -> Result<Request<'a>, Invalid> {
    let (level, noreply) = last_may_be_noreply(&mut words)?;
    // The only word is no level, and is not said to be none either.
    if level == b"noreply" {
        return Ok(Request::Accepted { noreply: true });
    }
    unsigned(level).ok_or(Invalid::Format)?;
    Ok(Request::Accepted { noreply })
}

/// A word, and perhaps one more.
fn last_may_be_noreply<'a>(words: &mut Words<'a>) -> Result<(&'a [u8], bool), Invalid> {
    let word = words.next().ok_or(Invalid::Command)?;
    let last = words.next();
    if words.next().is_some() {
        return Err(Invalid::Command);
    }
    Ok((word, last == Some(b"noreply")))
}

pub(super) fn memory_limit<'a>(mut words: Words<'_>) -> Result<Request<'a>, Invalid> {
    const MEGABYTES_MIN: u32 = 8;
    const MEGABYTES_MAX: u32 = 1_000_000_000;
    let (limit, noreply) = last_may_be_noreply(&mut words)?;
    let megabytes = unsigned(limit).ok_or(Invalid::Command)?;
    match u32::try_from(megabytes).unwrap_or(u32::MAX) {
        ..MEGABYTES_MIN => Err(Invalid::MemoryTooSmall),
        megabytes if megabytes > MEGABYTES_MAX => Err(Invalid::MemoryInBytes),
        megabytes => Ok(Request::MemoryLimit { megabytes, noreply }),
    }
}

/// Nothing crawls: what has expired goes with its segment. Keys are told.
pub(super) fn crawler<'a>(mut words: Words<'_>) -> Result<Request<'a>, Invalid> {
    const SLEEP_US_MAX: u64 = 1_000_000;
    let accepted = Ok(Request::Accepted { noreply: false });
    match (words.next(), words.next(), words.next()) {
        (Some(b"enable" | b"disable"), None, _) => accepted,
        (Some(b"sleep"), Some(us), None) => match number(us).ok_or(Invalid::Format)? {
            ..=SLEEP_US_MAX => accepted,
            _ => Err(Invalid::CrawlerSleep),
        },
        (Some(b"tocrawl"), Some(items), None) => number(items).ok_or(Invalid::Format).and(accepted),
        (Some(b"crawl"), Some(classes), None) => has_class(classes).and(accepted),
        (Some(b"metadump"), Some(b"all" | b"hash"), None) => {
            Ok(Request::Dump { dump: Dump::Meta, has_any: true })
        }
        (Some(b"mgdump"), Some(b"all" | b"hash"), None) => {
            Ok(Request::Dump { dump: Dump::Get, has_any: true })
        }
        (Some(verb @ (b"metadump" | b"mgdump")), Some(classes), None) => {
            let dump = if verb == b"metadump" { Dump::Meta } else { Dump::Get };
            Ok(Request::Dump { dump, has_any: has_class(classes)? })
        }
        _ => Err(Invalid::Command),
    }
}

/// Whether the class of all items is among these, which have commas between them.
fn has_class(classes: &[u8]) -> Result<bool, Invalid> {
    if classes == b"all" {
        return Ok(true);
    }
    let (mut named, mut has) = (0, false);
    for class in classes.split(|&byte| byte == b',').filter(|class| !class.is_empty()) {
        match number(class) {
            Some(class) if (u64::from(CLASS)..u64::from(CLASSES)).contains(&class) => {
                named += 1;
                has |= class == u64::from(CLASS);
            }
            _ => return Err(Invalid::CrawlerClass),
        }
    }
    if named == 0 { Err(Invalid::CrawlerNotStarted) } else { Ok(has) }
}

/// A number of 32 bits.
fn number(word: &[u8]) -> Option<u64> {
    unsigned(word).filter(|number| *number <= u64::from(u32::MAX))
}

/// There is one class, so no memory goes from one to another.
pub(super) fn slabs<'a>(mut words: Words<'_>) -> Result<Request<'a>, Invalid> {
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(b"reassign"), Some(from), Some(to), None) => {
            let class = |word| signed(word).filter(|class| i32::try_from(*class).is_ok());
            let (from, to) = (class(from).ok_or(Invalid::Format)?, class(to).ok_or(Invalid::Format)?);
            Err(if from == to { Invalid::SameClass } else { Invalid::SlabClass })
        }
        (Some(b"automove"), Some(b"ratio"), Some(ratio), None) => {
            real(ratio).ok_or(Invalid::Command).and(Ok(Request::Accepted { noreply: false }))
        }
        (Some(b"automove"), Some(level), last, rest) => match number(level).ok_or(Invalid::Format)? {
            0..=2 => Ok(Request::Accepted { noreply: rest.or(last) == Some(b"noreply") }),
            _ => Err(Invalid::Command),
        },
        _ => Err(Invalid::Command),
    }
}

/// There is no list of items by their last use; `--eviction` chooses what goes.
pub(super) fn lru<'a>(mut words: Words<'_>) -> Result<Request<'a>, Invalid> {
    let accepted = |last: Option<&[u8]>| Ok(Request::Accepted { noreply: last == Some(b"noreply") });
    match (words.next(), words.next()) {
        (Some(b"tune"), Some(hot)) => {
            let share = |word| number(word).ok_or(Invalid::Command);
            let hot = share(hot)?;
            let warm = share(words.next().ok_or(Invalid::Command)?)?;
            let mut factor = || words.next().and_then(real).ok_or(Invalid::Command);
            let (hot_factor, warm_factor) = (factor()?, factor()?);
            if hot + warm > 80 {
                return Err(Invalid::LruShares);
            }
            if hot_factor <= 0.0 || warm_factor <= 0.0 {
                return Err(Invalid::LruFactors);
            }
            accepted(words.last())
        }
        (Some(b"mode"), Some(b"flat" | b"segmented")) => accepted(words.last()),
        (Some(b"temp_ttl"), Some(ttl)) => {
            signed(ttl).filter(|ttl| i32::try_from(*ttl).is_ok()).ok_or(Invalid::Command)?;
            accepted(words.last())
        }
        _ => Err(Invalid::Command),
    }
}

fn real(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|real: &f64| real.is_finite())
}

/// Without words it is for what is fetched. Of memcached's events those that nothing here brings about are accepted.
pub(super) fn watch<'a>(words: Words<'_>) -> Result<Request<'a>, Invalid> {
    let mut watched = Watched::default();
    let mut named = false;
    for word in words {
        named = true;
        watched = watched.with(match word {
            b"fetchers" => Watched::FETCHERS,
            b"mutations" => Watched::MUTATIONS,
            b"evictions" => Watched::EVICTIONS,
            b"connevents" => Watched::CONNECTIONS,
            b"deletions" => Watched::DELETIONS,
            b"rawcmds" | b"sysevents" | b"proxyreqs" | b"proxyevents" | b"proxyuser" => Watched::default(),
            _ => return Err(Invalid::Command),
        });
    }
    Ok(Request::Watch { watched: if named { watched } else { Watched::FETCHERS } })
}

/// Both ways end alike, once answers are sent. The second word is looked at where the command is allowed.
pub(super) fn shutdown<'a>(mut words: Words<'_>) -> Request<'a> {
    let is_known = matches!((words.next(), words.next()), (None | Some(b"graceful"), None));
    Request::Shutdown { is_known }
}

pub(super) fn stats<'a>(mut words: Words<'a>) -> Result<Request<'a>, Invalid> {
    let what = words.next();
    match what {
        Some(b"cachedump") => {
            let (Some(class), Some(max)) = (words.next(), words.next()) else {
                return Err(Invalid::StatsWords);
            };
            let (class, max) = (number(class).ok_or(Invalid::Format)?, number(max).ok_or(Invalid::Format)?);
            if class >= u64::from(CLASSES) {
                return Err(Invalid::StatsClass);
            }
            let max = if max == 0 { u32::MAX } else { u32::try_from(max).unwrap_or(u32::MAX) };
            Ok(Request::Dump { dump: Dump::Items { max }, has_any: class == u64::from(CLASS) })
        }
        Some(b"detail") => match words.next() {
            Some(b"off") => Ok(Request::Accepted { noreply: false }),
            Some(b"dump") => Ok(Request::Dump { dump: Dump::Items { max: 0 }, has_any: false }),
            Some(b"on") => Err(Invalid::StatsDetailOn),
            _ => Err(Invalid::StatsDetail),
        },
        _ => Ok(Request::Stats { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an accepted command is silent.
    fn of(answer: Result<Request<'_>, Invalid>) -> Result<bool, Invalid> {
        answer.map(|request| match request {
            Request::Accepted { noreply } => noreply,
            other => panic!("{other:?}"),
        })
    }

    const TAKEN: bool = false;
    const SILENT: bool = true;

    #[test]
    fn what_memcached_takes_is_taken_and_the_rest_refused_in_its_words() {
        for (words, expected) in [
            ("1", Ok(TAKEN)),
            ("1 x", Ok(TAKEN)),
            ("1 noreply", Ok(SILENT)),
            ("noreply", Ok(SILENT)),
            ("x", Err(Invalid::Format)),
            ("", Err(Invalid::Command)),
            ("1 2 3", Err(Invalid::Command)),
        ] {
            assert_eq!(of(verbosity(Words::new(words.as_bytes()))), expected, "verbosity {words}");
        }
        for (words, expected) in [
            ("enable", Ok(TAKEN)),
            ("sleep 1000000", Ok(TAKEN)),
            ("sleep 1000001", Err(Invalid::CrawlerSleep)),
            ("sleep x", Err(Invalid::Format)),
            ("tocrawl 5", Ok(TAKEN)),
            ("crawl 1,2", Ok(TAKEN)),
            ("crawl 1,64", Err(Invalid::CrawlerClass)),
            ("crawl ,", Err(Invalid::CrawlerNotStarted)),
            ("metadump", Err(Invalid::Command)),
            ("metadump all x", Err(Invalid::Command)),
            ("metadump 0", Err(Invalid::CrawlerClass)),
        ] {
            assert_eq!(of(crawler(Words::new(words.as_bytes()))), expected, "lru_crawler {words}");
        }
        for (words, expected) in [
            ("reassign 1 1", Err(Invalid::SameClass)),
            ("reassign -1 2", Err(Invalid::SlabClass)),
            ("reassign 1 x", Err(Invalid::Format)),
            ("reassign 1 2 noreply", Err(Invalid::Command)),
            ("automove 2 noreply", Ok(SILENT)),
            ("automove ratio 0.5", Ok(TAKEN)),
            ("automove 3", Err(Invalid::Command)),
            ("automove x", Err(Invalid::Format)),
        ] {
            assert_eq!(of(slabs(Words::new(words.as_bytes()))), expected, "slabs {words}");
        }
        for (words, expected) in [
            ("tune 10 25 0.1 2.0", Ok(TAKEN)),
            ("tune 10 25 0.1 2.0 noreply", Ok(SILENT)),
            ("tune 50 50 0.1 2.0", Err(Invalid::LruShares)),
            ("tune 10 25 0 2.0", Err(Invalid::LruFactors)),
            ("tune 10 25 0.1", Err(Invalid::Command)),
            ("mode flat", Ok(TAKEN)),
            ("mode x", Err(Invalid::Command)),
            ("temp_ttl -1", Ok(TAKEN)),
            ("temp_ttl x", Err(Invalid::Command)),
        ] {
            assert_eq!(of(lru(Words::new(words.as_bytes()))), expected, "lru {words}");
        }
    }

    #[test]
    fn dumps_are_of_the_one_class_that_there_is() {
        for (words, dump, has_any) in [
            ("metadump all", Dump::Meta, true),
            ("metadump hash", Dump::Meta, true),
            ("metadump 3,1", Dump::Meta, true),
            ("mgdump 2,3", Dump::Get, false),
        ] {
            let request = crawler(Words::new(words.as_bytes()));
            assert_eq!(request, Ok(Request::Dump { dump, has_any }), "{words}");
        }
        let items = |max, has_any| Ok(Request::Dump { dump: Dump::Items { max }, has_any });
        for (words, expected) in [
            ("cachedump 1 10", items(10, true)),
            ("cachedump 1 0", items(u32::MAX, true)),
            ("cachedump 2 1 x", items(1, false)),
            ("cachedump 64 1", Err(Invalid::StatsClass)),
            ("cachedump 1", Err(Invalid::StatsWords)),
            ("cachedump x 1", Err(Invalid::Format)),
            ("detail on", Err(Invalid::StatsDetailOn)),
            ("detail", Err(Invalid::StatsDetail)),
        ] {
            assert_eq!(stats(Words::new(words.as_bytes())), expected, "stats {words}");
        }
    }

    #[test]
    fn watchers_name_what_they_want() {
        let watched = |words: &str| match watch(Words::new(words.as_bytes())) {
            Ok(Request::Watch { watched }) => Some(watched),
            _ => None,
        };
        assert_eq!(watched(""), Some(Watched::FETCHERS));
        assert_eq!(watched("sysevents"), Some(Watched::default()));
        assert_eq!(watched("mutations evictions"), Some(Watched::MUTATIONS.with(Watched::EVICTIONS)));
        assert_eq!(watched("fetchers all"), None);
    }
}
