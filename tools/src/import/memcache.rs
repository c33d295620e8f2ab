//! Reads memcached (1.6 and later): the keys that `lru_crawler metadump all` tells, and `mg` of each.

use super::address::Address;
use super::{Batch, Item, Source};
use crate::cli::stream::{self, Stream};
use crate::exit::Failure;
use std::time::Duration;
use torc_proto::memcache::{KEY_BYTES_MAX, is_key, key64};

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

    /// The next keys, how many there are that memcached's protocol cannot ask for, and whether there are no more.
    fn keys(&mut self) -> Result<(Vec<Vec<u8>>, u64, bool), String> {
        let (mut keys, mut others) = (Vec::new(), 0);
        while keys.len() < KEYS {
            let line = self.dump.line()?;
            match line.strip_prefix(b"key=") {
                Some(rest) => {
                    let key = decoded(rest.split(|&byte| byte == b' ').next().unwrap_or_default());
                    if can_be_asked_for(&key) { keys.push(key) } else { others += 1 }
                }
                None if line == b"END" => return Ok((keys, others, true)),
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
        Ok((keys, others, false))
    }

    fn items(&mut self, keys: Vec<Vec<u8>>) -> Result<Vec<Item>, String> {
        let mut requests = Vec::new();
        keys.iter().for_each(|key| request(key, &mut requests));
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
        let fetched =
            self.keys().and_then(|(keys, others, is_last)| Ok((self.items(keys)?, others, is_last)));
        let (items, others, is_last) =
            fetched.map_err(|error| Failure::Failed(format!("the source {}: {error}", self.name)))?;
        Ok(Batch { items, others, is_last })
    }

    fn place(&self) -> Option<u64> {
        None
    }
}

/// Whether a request can name it. A Torc that is read has longer keys, too.
fn can_be_asked_for(key: &[u8]) -> bool {
    let base64_bytes = key.len().div_ceil(3) * 4;
    !key.is_empty() && if is_key(key) { key.len() } else { base64_bytes } <= KEY_BYTES_MAX
}

/// Appends the `mg` of a key: in base64 if it cannot stand in a line.
fn request(key: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(b"mg ");
    if is_key(key) {
        to.extend_from_slice(key);
    } else {
        key64::encode(key, to);
        to.extend_from_slice(b" b");
    }
    to.extend_from_slice(b" v f t\r\n");
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
    fn keys_that_a_line_cannot_have_are_asked_for_in_base64() {
        let mut requests = Vec::new();
        request(b"a:b", &mut requests);
        request(b"a b\n", &mut requests);
        assert_eq!(requests, b"mg a:b v f t\r\nmg YSBiCg== b v f t\r\n");
        for (key, can) in
            [(vec![b'k'; 250], true), (vec![b'k'; 251], false), (vec![0; 186], true), (vec![0; 189], false)]
        {
            assert_eq!(can_be_asked_for(&key), can, "{}", key.len());
        }
    }

    #[test]
    fn keys_are_decoded() {
        for (text, key) in
            [("plain", "plain"), ("a%3Ab%25", "a:b%"), ("%", "%"), ("%zz%4", "%zz%4"), ("%C3%A4", "ä")]
        {
            assert_eq!(decoded(text.as_bytes()), key.as_bytes(), "{text}");
        }
    }
}
