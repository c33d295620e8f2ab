//! The options of SET and GETEX, and times as commands give them.

use super::error::Error;
use torc_engine::command::{Expiry, Millis, WriteMode};
use torc_proto::resp::parse_i64;

/// The options of one SET or GETEX, as far as they are understood without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options<'a> {
    pub add: bool,
    pub replace: bool,
    /// SET: only if this is the value.
    pub equal: Option<&'a [u8]>,
    /// SET: answer with the old value.
    pub get: bool,
    pub keep_ttl: bool,
    /// GETEX: let it never expire.
    pub persist: bool,
    pub time: Option<Time<'a>>,
}

/// A time as it stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time<'a> {
    pub unit: Unit,
    pub digits: &'a [u8],
}

/// How a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    UnixSeconds,
    UnixMillis,
}

impl Unit {
    /// `number` in milliseconds, and whether it counts from now; `None` if that is more than 63 bits.
    fn millis(self, number: i64) -> Option<(i64, bool)> {
        match self {
            Unit::Seconds => Some((number.checked_mul(1000)?, true)),
            Unit::Millis => Some((number, true)),
            Unit::UnixSeconds => Some((number.checked_mul(1000)?, false)),
            Unit::UnixMillis => Some((number, false)),
        }
    }

    /// The moment in milliseconds of the Unix epoch; it may lie before the epoch.
    pub(super) fn moment(self, number: i64, now: Millis) -> Option<i64> {
        let (millis, relative) = self.millis(number)?;
        if relative { millis.checked_add(i64::try_from(now).ok()?) } else { Some(millis) }
    }
}

impl Time<'_> {
    /// The expiry of a value that is stored: the number must be positive. `command` is for the error.
    pub(super) fn expiry(&self, now: Millis, command: &'static str) -> Result<Expiry, Error> {
        let number = parse_i64(self.digits).ok_or(Error::NotAnInteger)?;
        let invalid = Error::InvalidExpire(command);
        if number <= 0 {
            return Err(invalid);
        }
        let moment = self.unit.moment(number, now).ok_or(invalid)?;
        Ok(Expiry::At(moment.unsigned_abs()))
    }
}

/// Which command's options are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Set,
    GetEx,
}

impl<'a> Options<'a> {
    /// Reads options; each excludes those that it contradicts.
    pub(super) fn parse(
        mut arguments: impl Iterator<Item = &'a [u8]>,
        dialect: Dialect,
    ) -> Result<Options<'a>, Error> {
        let mut options = Options::default();
        while let Some(word) = arguments.next() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            let set = dialect == Dialect::Set;
            let timed = options.time.is_some();
            let equal = options.equal.is_some();
            if set && is("NX") && !options.replace && !equal {
                options.add = true;
            } else if set && is("XX") && !options.add && !equal {
                options.replace = true;
            } else if set && is("IFEQ") && !options.replace && !options.add && !equal {
                options.equal = Some(arguments.next().ok_or(Error::Syntax)?);
            } else if set && is("GET") {
                options.get = true;
            } else if set && is("KEEPTTL") && !timed {
                options.keep_ttl = true;
            } else if !set && is("PERSIST") && !timed {
                options.persist = true;
            } else if let Some(unit) = unit(word) {
                let other = options.time.is_some_and(|time| time.unit != unit);
                if other || options.keep_ttl || options.persist {
                    return Err(Error::Syntax);
                }
                options.time = Some(Time { unit, digits: arguments.next().ok_or(Error::Syntax)? });
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    pub(super) fn mode(&self) -> WriteMode {
        match (self.add, self.replace) {
            (true, _) => WriteMode::Add,
            (_, true) => WriteMode::Replace,
            _ => WriteMode::Set,
        }
    }

    /// The expiry of what SET stores.
    pub(super) fn set_expiry(&self, now: Millis) -> Result<Expiry, Error> {
        self.expiry(now, "set")
    }

    /// The same, of another command.
    pub(super) fn expiry(&self, now: Millis, command: &'static str) -> Result<Expiry, Error> {
        match self.time {
            Some(time) => time.expiry(now, command),
            None if self.keep_ttl => Ok(Expiry::Keep),
            None => Ok(Expiry::Never),
        }
    }
}

fn unit(word: &[u8]) -> Option<Unit> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match word.len() {
        2 if is("EX") => Some(Unit::Seconds),
        2 if is("PX") => Some(Unit::Millis),
        4 if is("EXAT") => Some(Unit::UnixSeconds),
        4 if is("PXAT") => Some(Unit::UnixMillis),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<Options<'_>, Error> {
        Options::parse(text.split_whitespace().map(str::as_bytes), Dialect::Set)
    }

    #[test]
    fn options_that_contradict_are_a_syntax_error() {
        for text in [
            "NX XX",
            "XX NX",
            "EX 1 PX 1",
            "KEEPTTL EX 1",
            "EX 1 KEEPTTL",
            "PERSIST",
            "EX",
            "FOO",
            "EX 1 EXAT",
            "IFEQ",
            "IFEQ a NX",
            "XX IFEQ a",
            "IFEQ a IFEQ b",
        ] {
            assert_eq!(set(text), Err(Error::Syntax), "{text}");
        }
        for text in
            ["NX", "xx GET", "EX 1", "EX 1 EX 2", "NX GET PXAT 5", "KEEPTTL KEEPTTL", "IFEQ NX GET EX 1", ""]
        {
            assert!(set(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn times_are_checked_for_overflow() {
        let expiry = |text: &'static str| set(text).and_then(|options| options.set_expiry(1_000));
        assert_eq!(expiry("EX 2"), Ok(Expiry::At(3_000)));
        assert_eq!(expiry("PX 2"), Ok(Expiry::At(1_002)));
        assert_eq!(expiry("EXAT 2"), Ok(Expiry::At(2_000)));
        assert_eq!(expiry("PXAT 2"), Ok(Expiry::At(2)));
        assert_eq!(expiry("KEEPTTL"), Ok(Expiry::Keep));
        assert_eq!(expiry(""), Ok(Expiry::Never));
        assert_eq!(expiry("EX x"), Err(Error::NotAnInteger));
        for text in
            ["EX 0", "PX -1", "EX 9223372036854775807", "EX 9223372036854775", "PX 9223372036854775807"]
        {
            assert_eq!(expiry(text), Err(Error::InvalidExpire("set")), "{text}");
        }
    }
}
