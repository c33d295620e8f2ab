//! Events of items and connections, as lines for clients that watch them (memcached's `watch`).
//!
//! ```text
//!   ts=<second>.<microsecond> gid=<number> type=item_get key= status= clsid= cfd= size=
//!                                          type=item_store key= status= cmd= ttl= clsid= cfd= size=
//!                                          type=deleted key= cmd= clsid= cfd= size=
//!                                          type=eviction key= fetch= ttl= la= clsid= size=
//!                                          type=conn_new rip= rport= transport= cfd=
//!                                          type=conn_close rip= rport= transport= reason= cfd=
//! ```
//!
//! What is noted has no time and number yet: a shard gives both to all lines of a turn when it tells them.

use super::gone::GoneKey;
use crate::observed::EventLines;
use crate::session::memcache::dump::encode;
use crate::transport::ConnId;
use std::io::Write as _;
use torc_engine::command::{
    Arithmetic, Body, Command, Expiry, Meta, Millis, Op, Outcome, Refusal, Write, WriteMode,
};
use torc_engine::shard::Glance;
use torc_proto::memcache::{CLASS, Watched};

/// Bytes of lines of one turn; beyond that they are dropped, and counted.
const LINES_BYTES_MAX: usize = 64 << 10;

/// What a shard notes for watchers.
#[derive(Debug, Default)]
pub(crate) struct WatchedEvents {
    kinds: Watched,
    /// Shard and place of the client whose commands are executed.
    client: (u16, u32),
    shards: u16,
    lines: EventLines,
    dropped: u64,
}

impl WatchedEvents {
    /// The commands that follow are this client's.
    #[inline]
    pub(in crate::worker) fn of_client(&mut self, shard: u16, conn: ConnId) {
        self.client = (shard, conn.index);
    }

    pub(super) fn watch(&mut self, kinds: Watched, shards: u16) {
        (self.kinds, self.shards) = (kinds, shards);
    }

    pub(super) fn are_of_items(&self) -> bool {
        self.kinds.has(Watched::FETCHERS.with(Watched::MUTATIONS).with(Watched::DELETIONS))
    }

    #[inline]
    pub(super) fn has(&self, kind: Watched) -> bool {
        self.kinds.has(kind)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.ends.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.lines.ends.len() as u64
    }

    /// Notes a command, what there was before, and what came of it.
    pub(super) fn note(&mut self, command: &Command<'_>, outcome: &Outcome<'_>, before: Glance, now: Millis) {
        // It is executed again when the item is there.
        if matches!(outcome, Outcome::Pending(_)) {
            return;
        }
        self.note_fetch(command, before);
        match &command.op {
            Op::Write(write) => self.note_store(command.key, write, outcome, now),
            Op::Delete(_) => {
                if let (Outcome::Deleted { .. }, Glance::Found(meta)) = (outcome, before) {
                    self.note_delete(command.key, &meta);
                }
            }
            Op::Arithmetic(Arithmetic { initial: Some(_), .. }) if before == Glance::Absent => {
                if let Outcome::Counter { meta, .. } = outcome {
                    self.note_stored(command.key, ("stored", "add"), ttl(meta.expiry, now), meta.value_bytes);
                }
            }
            op if op.changes() => {
                if let Outcome::Stored { meta, .. } = outcome {
                    self.note_stored(command.key, ("stored", "set"), ttl(meta.expiry, now), meta.value_bytes);
                }
            }
            _ => {}
        }
    }

    fn note_fetch(&mut self, command: &Command<'_>, before: Glance) {
        let (status, class, bytes) = match before {
            Glance::Found(meta) => ("found", CLASS, meta.value_bytes),
            Glance::Absent => ("not_found", 0, 0),
            Glance::Unknown => return,
        };
        let client = self.client_number();
        self.line(Watched::FETCHERS, |to| {
            to.extend_from_slice(b"type=item_get key=");
            encode(command.key, to);
            _ = write!(to, " status={status} clsid={class} cfd={client} size={bytes}");
        });
    }

    fn note_store(&mut self, key: &[u8], write: &Write<'_>, outcome: &Outcome<'_>, now: Millis) {
        let verb = match write.mode {
            WriteMode::Set if write.compare.is_some() => "cas",
            WriteMode::Set => "set",
            WriteMode::Add => "add",
            WriteMode::Replace => "replace",
            WriteMode::Append => "append",
            WriteMode::Prepend => "prepend",
        };
        let given = match write.value {
            Body::Bytes(value) => value.len() as u64,
            _ => 0,
        };
        let end = match write.expiry {
            Expiry::At(end) => Some(end),
            _ => None,
        };
        let (status, end, bytes) = match outcome {
            Outcome::Stored { meta, .. } => ("stored", meta.expiry, meta.value_bytes),
            Outcome::NotStored { .. } => ("not_stored", end, given),
            Outcome::Exists => ("exists", end, given),
            Outcome::Miss if write.compare.is_some() => ("not_found", end, given),
            Outcome::Miss => ("not_stored", end, given),
            Outcome::Refused(Refusal::ValueTooLarge) => ("too_large", end, given),
            Outcome::Refused(_) => ("no_memory", end, given),
            _ => return,
        };
        self.note_stored(key, (status, verb), ttl(end, now), bytes);
    }

    fn note_stored(&mut self, key: &[u8], (status, verb): (&str, &str), ttl: u64, bytes: u64) {
        let client = self.client_number();
        self.line(Watched::MUTATIONS, |to| {
            to.extend_from_slice(b"type=item_store key=");
            encode(key, to);
            _ = write!(to, " status={status} cmd={verb} ttl={ttl} clsid={CLASS} cfd={client} size={bytes}");
        });
    }

    fn note_delete(&mut self, key: &[u8], meta: &Meta) {
        let client = self.client_number();
        self.line(Watched::DELETIONS, |to| {
            to.extend_from_slice(b"type=deleted key=");
            encode(key, to);
            _ = write!(to, " cmd=delete clsid={CLASS} cfd={client} size={}", meta.value_bytes);
        });
    }

    pub(super) fn note_eviction(&mut self, gone: &GoneKey, now: Millis) {
        let Some(meta) = gone.evicted else { return };
        self.line(Watched::EVICTIONS, |to| {
            to.extend_from_slice(b"type=eviction key=");
            encode(&gone.key, to);
            let fetched = if meta.fetched { "yes" } else { "no" };
            let ttl = meta.expiry.map_or(-1, |end| ttl(Some(end), now) as i64);
            let age = now.saturating_sub(meta.version >> 16) / 1000;
            let bytes = meta.value_bytes;
            _ = write!(to, " fetch={fetched} ttl={ttl} la={age} clsid={CLASS} size={bytes}");
        });
    }

    pub(super) fn note_connection(&mut self, what: &str, peer: &str, reason: Option<&str>) {
        let client = self.client_number();
        let address = peer.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let (host, port) = address.filter(|_| !peer.starts_with('/')).unwrap_or(("unix", "0"));
        let transport = if host == "unix" { "local" } else { "tcp" };
        let host = host.trim_matches(['[', ']']);
        self.line(Watched::CONNECTIONS, |to| {
            _ = write!(to, "type={what} rip={host} rport={port} transport={transport}");
            reason.iter().for_each(|reason| _ = write!(to, " reason={reason}"));
            _ = write!(to, " cfd={client}");
        });
    }

    /// Clients that are there at the same time have different ones.
    fn client_number(&self) -> u64 {
        let (shard, place) = self.client;
        u64::from(place) * u64::from(self.shards.max(1)) + u64::from(shard)
    }

    /// Adds a line, if there is somebody who watches such.
    fn line(&mut self, kind: Watched, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.kinds.has(kind) {
            return;
        }
        if self.lines.bytes.len() >= LINES_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        write(&mut self.lines.bytes);
        self.lines.bytes.push(b'\n');
        self.lines.end(kind);
    }

    /// Takes the lines, with their time and numbers from `first` on, and how many more there were.
    pub(super) fn take(&mut self, first: u64, now: Millis) -> (EventLines, u64) {
        let lines = std::mem::take(&mut self.lines);
        let mut whole = EventLines::default();
        let (second, us) = (now / 1000, now % 1000 * 1000);
        for ((kind, line), number) in lines.each().zip(first..) {
            _ = write!(whole.bytes, "ts={second}.{us} gid={number} ");
            whole.bytes.extend_from_slice(line);
            whole.end(kind);
        }
        (whole, std::mem::take(&mut self.dropped))
    }

    /// Memory of the lines.
    pub(super) fn bytes_held(&self) -> usize {
        self.lines.bytes.capacity()
    }
}

/// Seconds to live, a begun one counted whole; 0: for ever.
fn ttl(end: Option<Millis>, now: Millis) -> u64 {
    end.map_or(0, |end| end.saturating_sub(now).div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(kinds: Watched, note: impl FnOnce(&mut WatchedEvents)) -> Vec<String> {
        let mut events = WatchedEvents::default();
        events.watch(kinds, 2);
        events.of_client(1, ConnId { index: 7, generation: 0 });
        note(&mut events);
        let (lines, _) = events.take(5, 1_795_995_240_019);
        String::from_utf8(lines.bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_memcacheds() {
        let key = b"a:b";
        let command = |op| Command { database: 0, key, op };
        let meta = Meta { value_bytes: 3, expiry: Some(1_795_995_241_000), ..Meta::default() };
        let all = Watched::of_bits(u8::MAX);
        let set = command(Op::Write(Write::set(b"abc")));
        let lines = noted(all, |events| {
            events.note(&set, &Outcome::Stored { meta, old: None }, Glance::Absent, 1_795_995_240_000);
            events.note_connection("conn_new", "127.0.0.1:80", None);
            events.note_connection("conn_close", "/run/a:1", Some("normal"));
            events.note_connection("conn_new", "[::1]:80", None);
        });
        assert_eq!(
            lines,
            [
                "ts=1795995240.19000 gid=5 type=item_get key=a%3Ab status=not_found clsid=0 cfd=15 size=0",
                "ts=1795995240.19000 gid=6 type=item_store key=a%3Ab status=stored cmd=set ttl=1 clsid=1 cfd=15 size=3",
                "ts=1795995240.19000 gid=7 type=conn_new rip=127.0.0.1 rport=80 transport=tcp cfd=15",
                "ts=1795995240.19000 gid=8 type=conn_close rip=unix rport=0 transport=local reason=normal cfd=15",
                "ts=1795995240.19000 gid=9 type=conn_new rip=::1 rport=80 transport=tcp cfd=15",
            ]
        );
    }

    #[test]
    fn only_what_is_watched_is_noted_and_no_more_than_fits() {
        let set = Command { database: 0, key: b"k", op: Op::Write(Write::set(b"abc")) };
        let lines = noted(Watched::FETCHERS, |events| {
            events.note(&set, &Outcome::NotStored { old: None }, Glance::Found(Meta::default()), 0);
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let lines = noted(Watched::FETCHERS, |events| {
            (0..10_000).for_each(|_| events.note(&set, &Outcome::Miss, Glance::Absent, 0));
            assert!(events.dropped > 0 && events.lines.bytes.len() < LINES_BYTES_MAX + 1024);
        });
        assert!(lines.len() < 10_000);
    }
}
