//! Frames that answer no request: what a client has subscribed to, or is told about keys that it keeps.

use torc_engine::words;

/// Words for a client; the first one says what they are about. A push may have to wait: then its bytes are kept, and the
/// protocol writes them when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push<'p> {
    about: About,
    bytes: &'p [u8],
}

/// What the words of a push are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The frame itself.
    Words,
    /// Keys of which the client has copies, and that have changed; none: all may have. `redirected`: another client has the copies.
    Keys { redirected: bool },
    /// The number (little-endian) of a client that was told in place of this one, and is gone.
    Broken,
}

impl<'p> Push<'p> {
    /// Puts words together in `buffer`, which is empty. A word of 4 GiB and more, and what is behind it, is left out.
    pub fn new(words: &[&[u8]], buffer: &'p mut Vec<u8>) -> Push<'p> {
        for word in words {
            let Ok(len) = u32::try_from(word.len()) else { break };
            words::begin(len, buffer);
            buffer.extend_from_slice(word);
        }
        Push { about: About::Words, bytes: buffer }
    }

    /// `keys`: as [`torc_engine::words`].
    pub fn keys(keys: &'p [u8], redirected: bool) -> Push<'p> {
        Push { about: About::Keys { redirected }, bytes: keys }
    }

    pub fn broken(number: &[u8], buffer: &'p mut Vec<u8>) -> Push<'p> {
        Push { about: About::Broken, ..Push::new(&[number], buffer) }
    }

    /// A push that has waited.
    pub fn of_bytes(about: About, bytes: &'p [u8]) -> Push<'p> {
        Push { about, bytes }
    }

    pub fn about(self) -> About {
        self.about
    }

    pub fn bytes(self) -> &'p [u8] {
        self.bytes
    }

    pub fn words(self) -> impl Iterator<Item = &'p [u8]> + Clone {
        words::each(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Output, Port, Protocol, Session, Subscribed};
    use super::*;

    #[test]
    fn a_protocol_without_pushes_takes_none() {
        let mut buffer = Vec::new();
        let push = Push::new(&[b"message"], &mut buffer);
        for (protocol, taken) in
            [(None, false), (Some(Protocol::Memcache), false), (Some(Protocol::Native), true)]
        {
            let mut out = Output::default();
            assert_eq!(Session::new(protocol, Port::Common).push(push, &mut out), taken, "{protocol:?}");
            assert_eq!(out.is_empty(), !taken);
        }
    }

    #[test]
    fn a_redis_client_of_resp2_takes_pushes_while_it_is_subscribed() {
        let mut session = Session::new(Some(Protocol::Resp), Port::Common);
        for (named, takes) in [(0, false), (1, true), (0, false)] {
            session.has_subscribed(Subscribed { named, ..Subscribed::default() });
            assert_eq!(session.takes_pushes(), takes);
        }
    }
}
