//! What shards tell each other of keys that clients keep copies of, in bytes.

use super::By;
use crate::transport::ConnId;
use crate::worker::holds::Holder;
use torc_engine::words;

/// One piece of news, for a client of the shard that is told or for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News<'n> {
    /// A key that the client has read.
    Changed { to: ConnId, by: By, key: &'n [u8] },
    /// A key, for those who are told by prefixes; who has changed it, if that was a client.
    Broadcast { by: Option<Holder>, key: &'n [u8] },
    /// What `from` would have been told, for the client in its place: keys as words; none: all.
    Redirected { to: ConnId, from: Holder, keys: &'n [u8] },
    /// The client in its place is gone.
    Broken { to: ConnId },
}

const CHANGED: u8 = 0;
const BROADCAST: u8 = 1;
const BROADCAST_BY: u8 = 2;
const REDIRECTED: u8 = 3;
const BROKEN: u8 = 4;
const CHANGED_BY_IT: u8 = 5;
const CHANGED_AT: u8 = 6;

/// Bytes of a connection, and of one with its shard.
const CONN_BYTES: usize = 8;
const HOLDER_BYTES: usize = CONN_BYTES + 2;

impl<'n> News<'n> {
    pub(super) fn append(self, news: &mut Vec<u8>) {
        let mut add = |kind: u8, parts: &[&[u8]]| {
            words::begin(1 + parts.iter().map(|part| part.len()).sum::<usize>() as u32, news);
            news.push(kind);
            parts.iter().for_each(|part| news.extend_from_slice(part));
        };
        match self {
            News::Changed { to, by: By::Others, key } => add(CHANGED, &[&conn_bytes(to), key]),
            News::Changed { to, by: By::Itself(None), key } => add(CHANGED_BY_IT, &[&conn_bytes(to), key]),
            News::Changed { to, by: By::Itself(Some(place)), key } => {
                add(CHANGED_AT, &[&conn_bytes(to), &place.to_le_bytes(), key]);
            }
            News::Broadcast { by: None, key } => add(BROADCAST, &[key]),
            News::Broadcast { by: Some(by), key } => add(BROADCAST_BY, &[&holder_bytes(by), key]),
            News::Redirected { to, from, keys } => {
                add(REDIRECTED, &[&conn_bytes(to), &holder_bytes(from), keys]);
            }
            News::Broken { to } => add(BROKEN, &[&conn_bytes(to)]),
        }
    }

    pub(super) fn each(news: &'n [u8]) -> impl Iterator<Item = News<'n>> {
        words::each(news).filter_map(News::read)
    }

    fn read(word: &'n [u8]) -> Option<News<'n>> {
        let (&kind, rest) = word.split_first()?;
        Some(match kind {
            CHANGED => {
                let (to, key) = conn(rest)?;
                News::Changed { to, by: By::Others, key }
            }
            CHANGED_BY_IT => {
                let (to, key) = conn(rest)?;
                News::Changed { to, by: By::Itself(None), key }
            }
            CHANGED_AT => {
                let (to, rest) = conn(rest)?;
                let (place, key) = rest.split_first_chunk()?;
                News::Changed { to, by: By::Itself(Some(u32::from_le_bytes(*place))), key }
            }
            BROADCAST => News::Broadcast { by: None, key: rest },
            BROADCAST_BY => {
                let (by, key) = holder(rest)?;
                News::Broadcast { by: Some(by), key }
            }
            REDIRECTED => {
                let (to, rest) = conn(rest)?;
                let (from, keys) = holder(rest)?;
                News::Redirected { to, from, keys }
            }
            BROKEN => News::Broken { to: conn(rest)?.0 },
            _ => return None,
        })
    }
}

fn conn_bytes(conn: ConnId) -> [u8; CONN_BYTES] {
    (u64::from(conn.generation) << 32 | u64::from(conn.index)).to_le_bytes()
}

fn holder_bytes(holder: Holder) -> [u8; HOLDER_BYTES] {
    let mut bytes = [0; HOLDER_BYTES];
    bytes[..CONN_BYTES].copy_from_slice(&conn_bytes(holder.conn));
    bytes[CONN_BYTES..].copy_from_slice(&holder.shard.to_le_bytes());
    bytes
}

fn conn(bytes: &[u8]) -> Option<(ConnId, &[u8])> {
    let (bytes, rest) = bytes.split_first_chunk::<CONN_BYTES>()?;
    let number = u64::from_le_bytes(*bytes);
    Some((ConnId { index: number as u32, generation: (number >> 32) as u32 }, rest))
}

fn holder(bytes: &[u8]) -> Option<(Holder, &[u8])> {
    let (conn, rest) = conn(bytes)?;
    let (shard, rest) = rest.split_first_chunk()?;
    Some((Holder { shard: u16::from_le_bytes(*shard), conn }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_read_as_it_was_written() {
        let to = ConnId { index: 7, generation: u32::MAX };
        let from = Holder { shard: 300, conn: ConnId { index: u32::MAX, generation: 1 } };
        let all = [
            News::Changed { to, by: By::Others, key: b"k" },
            News::Changed { to, by: By::Itself(None), key: b"k" },
            News::Changed { to, by: By::Itself(Some(u32::MAX)), key: b"" },
            News::Broadcast { by: None, key: b"" },
            News::Broadcast { by: Some(from), key: b"key" },
            News::Redirected { to, from, keys: b"" },
            News::Redirected { to, from, keys: b"\x01\0\0\0k" },
            News::Broken { to },
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|news| news.append(&mut bytes));
        assert_eq!(News::each(&bytes).collect::<Vec<_>>(), all);
    }
}
