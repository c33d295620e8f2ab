//! What is noted is told: at the end of each turn, to this shard's subscribers and to the other shards.

use super::gone::Gone;
use super::{NOBODY, NOTICES_BYTES_MAX};
use crate::event_classes::EventClasses;
use crate::metrics::CloseReason;
use crate::transport::ConnId;
use crate::worker::mail::{Ask, AskBytes, What};
use crate::worker::state::WorkerState;
use std::sync::atomic::Ordering::Relaxed;
use torc_engine::words;
use torc_proto::memcache::Watched;

impl WorkerState {
    /// Looks whether changes are to be noted: when a turn begins, and whenever somebody may have begun to listen since.
    #[inline]
    pub(in crate::worker) fn look_for_listeners(&mut self) {
        // Relaxed: a setting.
        let wanted = self.shared.event_classes.load(Relaxed);
        let watched = self.shared.observed.monitors.watched();
        if wanted != 0 || watched != Watched::default() || !self.notices.are_off() {
            self.begin_noting(EventClasses::of_bits(wanted), watched);
        }
    }

    #[cold]
    fn begin_noting(&mut self, wanted: EventClasses, watched: Watched) {
        let is_heard = wanted.tells() && self.shared.subscribers.any();
        self.notices.classes = if is_heard { wanted } else { EventClasses::default() };
        self.notices.watched.watch(watched, self.mail.shards());
        self.notices.is_on = self.notices.classes != EventClasses::default() || watched != Watched::default();
        let goes = EventClasses::parse("xe").unwrap_or_default();
        let listens = self.notices.classes.has(goes) || watched.has(Watched::EVICTIONS);
        match (listens, self.shard.listener_mut::<Gone>().is_some()) {
            (true, false) => self.shard.listen(Box::<Gone>::default()),
            (false, true) => self.shard.listen_no_more::<Gone>(),
            _ => {}
        }
    }

    /// Tells of all changes of the turn.
    #[inline]
    pub(in crate::worker) fn give_notices(&mut self) {
        if !self.notices.are_off() || !self.notices.waiting.is_empty() {
            self.give_some_notices();
        }
        if !self.notices.watched.is_empty() {
            self.tell_watchers();
        }
    }

    #[cold]
    fn give_some_notices(&mut self) {
        self.take_gone();
        if self.notices.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.notices.waiting);
        let given = self.give_waiting(&waiting);
        self.notices.waiting = waiting;
        self.notices.waiting.drain(..given);
        self.notices.is_stopped = !self.notices.waiting.is_empty();
        if self.notices.waiting.is_empty() && self.notices.waiting.capacity() > NOTICES_BYTES_MAX / 64 {
            self.notices.waiting = Vec::new();
        }
        self.stats.notices_dropped.add(std::mem::take(&mut self.notices.dropped));
    }

    /// Tells of notices as long as there is a place for them. Says how many bytes of them are told.
    fn give_waiting(&mut self, waiting: &[u8]) -> usize {
        let (mut all, mut given) = (words::each(waiting), 0);
        while let (Some(event), Some(key), Some(database)) = (all.next(), all.next(), all.next()) {
            let number = u16::from_le_bytes(database.try_into().unwrap_or_default());
            if !self.pass_notice(number, event, key) {
                break;
            }
            self.give_notice(number, event, key);
            given += [event, key, database].iter().map(|word| size_of::<u32>() + word.len()).sum::<usize>();
        }
        given
    }

    /// Takes over which keys went by themselves.
    fn take_gone(&mut self) {
        let Some(gone) = self.shard.listener_mut::<Gone>() else { return };
        let (gone, dropped) = gone.take();
        self.notices.dropped += dropped;
        for item in gone {
            self.notices.watched.note_eviction(&item, self.now);
            if let Some(database) = self.shard.database_of(item.space, item.version) {
                self.notices.note(item.class, item.event, database as u16, &item.key);
            }
        }
    }

    /// Asks the other shards to tell their subscribers. False: there is no place for that now.
    fn pass_notice(&mut self, database: u16, event: &[u8], key: &[u8]) -> bool {
        let number = self.number;
        let length = event.len() + key.len();
        for asks in [false, true] {
            for shard in (0..self.mail.shards()).filter(|&shard| shard != number) {
                if !self.shared.subscribers.has(shard) {
                    continue;
                }
                let Some(lane) = self.mail.lane(shard) else { continue };
                if !asks && !lane.has_room_for(length) {
                    return false;
                }
                if asks {
                    let ask = Ask { database, ..Ask::plain(NOBODY, What::Notice) };
                    lane.ask(&ask, AskBytes { key, value: event, ..AskBytes::default() });
                }
            }
        }
        true
    }

    /// Tells this shard's subscribers.
    pub(in crate::worker) fn give_notice(&mut self, database: u16, event: &[u8], key: &[u8]) {
        // Relaxed: a setting.
        let classes = EventClasses::of_bits(self.shared.event_classes.load(Relaxed));
        let mut name = self.pool.take();
        for (channels, word, of, message) in [
            (EventClasses::KEYSPACE, "keyspace", key, event),
            (EventClasses::KEYEVENT, "keyevent", event, key),
        ] {
            if classes.has(channels) {
                name.clear();
                let number = itoa::Buffer::new().format(database).to_owned();
                name.extend_from_slice(
                    &[b"__", word.as_bytes(), b"@", number.as_bytes(), b"__:", of].concat(),
                );
                self.give_message(false, &name, message, None);
            }
        }
        self.pool.give(name);
    }

    /// Notes a client that has come.
    #[inline]
    pub(in crate::worker) fn note_came(&mut self, conn: ConnId, peer: &str) {
        if self.notices.watched.has(Watched::CONNECTIONS) {
            self.notices.watched.of_client(self.number, conn);
            self.notices.watched.note_connection("conn_new", peer, None);
        }
    }

    /// Notes a client that goes.
    #[inline]
    pub(in crate::worker) fn note_goes(&mut self, conn: ConnId, peer: &str, reason: CloseReason) {
        if self.notices.watched.has(Watched::CONNECTIONS) {
            let reason = match reason {
                CloseReason::Client | CloseReason::Answered => "normal",
                CloseReason::Idle => "idle_timeout",
                CloseReason::Drained => "shutdown",
                _ => "error",
            };
            self.notices.watched.of_client(self.number, conn);
            self.notices.watched.note_connection("conn_close", peer, Some(reason));
        }
    }

    /// Tells watchers what was noted since the last turn's end.
    #[cold]
    pub(super) fn tell_watchers(&mut self) {
        let monitors = &self.shared.observed.monitors;
        let events = self.notices.watched.len();
        let (lines, dropped) = self.notices.watched.take(monitors.event_numbers(events), self.now);
        let (told, skipped) = monitors.tell_events(&lines);
        self.stats.watched_events.add(events);
        self.stats.watched_events_dropped.add(dropped);
        self.stats.watched_lines.add(told);
        self.stats.watched_lines_skipped.add(skipped);
    }
}
