//! Where an import comes from, in words.

/// What is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Redis,
    Memcache,
}

/// A source's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) kind: Kind,
    pub(super) user: Option<String>,
    /// `HOST:PORT`.
    pub(super) host: String,
    pub(super) database: u32,
}

impl Address {
    /// The error names the cure.
    pub(super) fn parse(text: &str) -> Result<Address, String> {
        const HELP: &str = "write redis://HOST:PORT/DB or memcache://HOST:PORT";
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| format!("'{text}' is no source; {HELP}"))?;
        let (kind, port) = match scheme {
            "redis" => (Kind::Redis, 6379),
            "memcache" | "memcached" => (Kind::Memcache, 11211),
            "rediss" => {
                return Err("there is no TLS: make a tunnel to the source, and import from there".into());
            }
            _ => return Err(format!("'{scheme}://' is no source; {HELP}")),
        };
        let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password in an argument is shown to whoever lists processes; give it in a file: --source-password-file".into());
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match path {
            "" => 0,
            number if kind == Kind::Redis => {
                number.parse().map_err(|_| format!("'{number}' is no number of a database; {HELP}"))?
            }
            _ => return Err(format!("memcached has no databases; {HELP}")),
        };
        if host.is_empty() {
            return Err(format!("'{text}' names no host; {HELP}"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
            port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
        });
        let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        Ok(Address { kind, user: user.filter(|user| !user.is_empty()).map(str::to_owned), host, database })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_what_is_none_is_said_so() {
        let address = |kind, user: Option<&str>, host: &str, database| Address {
            kind,
            user: user.map(str::to_owned),
            host: host.to_owned(),
            database,
        };
        for (text, expected) in [
            ("redis://h", address(Kind::Redis, None, "h:6379", 0)),
            ("redis://me@h:1/3", address(Kind::Redis, Some("me"), "h:1", 3)),
            ("redis://[::1]:1/", address(Kind::Redis, None, "[::1]:1", 0)),
            ("redis://[::1]", address(Kind::Redis, None, "[::1]:6379", 0)),
            ("memcache://h", address(Kind::Memcache, None, "h:11211", 0)),
            ("memcached://h:5", address(Kind::Memcache, None, "h:5", 0)),
        ] {
            assert_eq!(Address::parse(text), Ok(expected), "{text}");
        }
        for (text, part) in [
            ("h:1", "redis://HOST"),
            ("http://h", "no source"),
            ("rediss://h", "TLS"),
            ("redis://u:p@h", "--source-password-file"),
            ("redis://h/x", "database"),
            ("redis://", "no host"),
            ("memcache://h/1", "no databases"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
