//! Reads memcached (1.6 and later): the keys that `lru_crawler metadump all` tells, and `mg` of each.

use super::address::Address;
use super::{Batch, Item, Source};
use crate::cli::stream::{self, Stream};
use crate::exit::Failure;
use std::time::Duration;

/// Keys that are asked for together.
const KEYS: usize = 128;

pub(super) struct Memcache {
    name: String,
    /// Tells the keys.
    dump: Lines,
    /// Tells the items.
    items: Lines,
}

/// A connection that is read line by line.
struct Lines {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    /// So much of it is worked off.
    at: usize,
}

impl Lines {
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    fn fill(&mut self) -> Result<(), String> {
        self.input.drain(..std::mem::take(&mut self.at));
        stream::fill(self.stream.as_mut(), &mut self.input).map_err(|error| error.to_string())
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let rest = &self.input[self.at..];
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]).to_vec();
                self.at += end + 1;
                return Ok(line);
            }
            self.fill()?;
        }
    }

    /// A value of so many bytes, and the line end behind it.
    fn value(&mut self, bytes: usize) -> Result<Vec<u8>, String> {
        while self.input.len() - self.at < bytes + 2 {
            self.fill()?;
        }
        let value = self.input[self.at..self.at + bytes].to_vec();
        self.at += bytes + 2;
        Ok(value)
    }
}

impl Memcache {
    pub(super) fn connect(
        address: &Address,
        password: Option<(String, Vec<u8>)>,
        timeout: Duration,
    ) -> Result<Memcache, Failure> {
        let name = address.host.clone();
        let fail = |error: String| Failure::Failed(format!("the source {name}: {error}"));
        let open = || -> Result<Lines, String> {
            let stream = stream::connect_to(&address.host, timeout)?;
            let mut lines = Lines { stream, input: Vec::new(), at: 0 };
            if let Some((user, password)) = &password {
                let value = [user.as_bytes(), b" ", password].concat();
                lines.send(
                    &[format!("set auth 0 0 {}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat(),
                )?;
                let answer = lines.line()?;
                if answer != b"STORED" {
                    return Err(String::from_utf8_lossy(&answer).into_owned());
                }
            }
            Ok(lines)
        };
        let (mut dump, items) = (open().map_err(fail)?, open().map_err(fail)?);
        dump.send(b"lru_crawler metadump all\r\n").map_err(fail)?;
        Ok(Memcache { dump, items, name: name.clone() })
    }

    /// The next keys, and whether there are no more.
    fn keys(&mut self) -> Result<(Vec<Vec<u8>>, bool), String> {
        let mut keys = Vec::new();
        while keys.len() < KEYS {
            let line = self.dump.line()?;
            match line.strip_prefix(b"key=") {
                Some(rest) => keys.push(decoded(rest.split(|&byte| byte == b' ').next().unwrap_or_default())),
                None if line == b"END" => return Ok((keys, true)),
                None if line.starts_with(b"CLIENT_ERROR unauthenticated") => {
                    return Err("it asks for a password; give --source-password-file, and the user as in memcache://USER@HOST".into());
                }
                None => {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    return Err(format!(
                        "it does not tell its keys (lru_crawler metadump, since 1.4.31): {line}"
                    ));
                }
            }
        }
        Ok((keys, false))
    }

    fn items(&mut self, keys: Vec<Vec<u8>>) -> Result<Vec<Item>, String> {
        let mut requests = Vec::new();
        for key in &keys {
            requests.extend_from_slice(&[b"mg ", &key[..], b" v f t\r\n"].concat());
        }
        self.items.send(&requests)?;
        let mut items = Vec::new();
        for key in keys {
            let line = self.items.line()?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let mut words = text.split(' ');
            match words.next() {
                Some("VA") => {
                    let bytes = words.next().and_then(|word| word.parse().ok());
                    let value = self.items.value(bytes.ok_or_else(|| format!("an odd answer: {text}"))?)?;
                    let (mut flags, mut ttl_ms) = (0, None);
                    for word in words {
                        match word.split_at_checked(1) {
                            Some(("f", number)) => flags = number.parse().unwrap_or_default(),
                            Some(("t", seconds)) => ttl_ms = seconds.parse::<u64>().ok().map(|s| s * 1000),
                            _ => {}
                        }
                    }
                    items.push(Item { key, value, flags, ttl_ms });
                }
                // It has gone meanwhile.
                Some("EN") => {}
                _ => return Err(format!("it does not know the meta commands of memcached 1.6: {text}")),
            }
        }
        Ok(items)
    }
}

impl Source for Memcache {
    fn count(&mut self) -> Result<u64, Failure> {
        Ok(0)
    }

    fn next(&mut self) -> Result<Batch, Failure> {
        let fetched = self.keys().and_then(|(keys, is_last)| Ok((self.items(keys)?, is_last)));
        let (items, is_last) =
            fetched.map_err(|error| Failure::Failed(format!("the source {}: {error}", self.name)))?;
        Ok(Batch { items, others: 0, is_last })
    }

    fn place(&self) -> Option<u64> {
        None
    }
}

/// A key as metadump writes it: `%20` for a byte that no URL has.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                key.push(decoded);
                rest = &behind[2..];
            }
            None => {
                key.push(byte);
                rest = behind;
            }
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded() {
        for (text, key) in
            [("plain", "plain"), ("a%3Ab%25", "a:b%"), ("%", "%"), ("%zz%4", "%zz%4"), ("%C3%A4", "ä")]
        {
            assert_eq!(decoded(text.as_bytes()), key.as_bytes(), "{text}");
        }
    }
}
