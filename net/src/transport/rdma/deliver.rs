//! What comes from clients.

use super::conn::{Conn, Inbound, Phase, Reading};
use super::hub::Hub;
use super::receives::{PULL_BYTES, buffer};
use super::{ConnId, Event, Rdma, Room, Transport};
use torc_rdma::Broken;
use torc_rdma::server::Heard;
use torc_rdma::verbs::completion::{Completion, Done};
use torc_rdma::verbs::seam::Verbs;

impl<T: Transport, V: Verbs> Rdma<T, V> {
    /// One completion of the queue.
    pub(super) fn completed(&mut self, completion: &Completion, events: &mut Vec<Event>) {
        let Some(hub) = &mut self.hub else { return };
        let receive = (completion.id & super::RECEIVE != 0).then_some(completion.id as u16);
        if let Some(number) = receive
            && !hub.memory.take(number)
        {
            return;
        }
        let conn = hub.numbers.find(completion.pair);
        let Some((conn, it)) = conn.and_then(|conn| Some((conn, self.conns.find(conn)?))) else {
            // It was under way when its connection ended.
            receive.into_iter().for_each(|number| hub.memory.release(number));
            return;
        };
        let outcome = match (completion.result, receive) {
            (Ok(Done::Received { len, immediate }), Some(number)) if it.phase.goes_on() => {
                it.heard = true;
                it.message(hub, (conn, number), len, immediate)
            }
            (result, Some(number)) => {
                hub.memory.release(number);
                match result {
                    // Nothing more is taken of it, and its receive is flushed with its queue pair.
                    Ok(Done::Received { .. }) => Ok(()),
                    Ok(_) => Err(Broken::Message),
                    Err(failure) => Err(failure.into()),
                }
            }
            (result, None) => {
                it.heard |= result.is_ok();
                let over = it.end.complete(completion.id);
                if let Ok(over) = over {
                    it.progress += over.writes as u64;
                    if over.reads > 0 {
                        it.told_at = self.looks;
                        it.read_is_over(conn, hub, result.is_ok(), events);
                    }
                }
                over.and(result.map(drop).map_err(Broken::from))
            }
        };
        if let Err(broken) = outcome {
            self.fail(conn, broken);
        }
        self.touch(conn);
    }

    /// The worker has parsed a buffer.
    pub(super) fn recycle_own(&mut self, number: u16) {
        let Some(hub) = &mut self.hub else { return };
        if hub.memory.is_pull(number) {
            return hub.memory.release_pull(number);
        }
        let conn = hub.holders[usize::from(number)];
        hub.memory.release(number);
        let it = self.conns.find(conn).filter(|it| it.phase.goes_on());
        let posted = match (&hub.receives, &it) {
            (Some(receives), _) => hub.memory.fill_shared(receives),
            (None, Some(it)) => hub.memory.post_own_next(it.end.pair(), it.lane),
            (None, None) => Ok(()),
        };
        if let Some(it) = it {
            it.end.owe();
            self.touch(conn);
        }
        if let Err(error) = posted {
            self.fail(conn, error.into());
        }
    }

    /// Room for the next bytes of a connection.
    pub(super) fn give_room(&mut self, conn: ConnId, room: Room) -> Result<(), Room> {
        let Some(it) = self.conns.find(conn) else { return Err(room) };
        let is_known = self.hub.as_ref().is_some_and(|hub| hub.knows(&room));
        if it.phase != Phase::Open || !it.reading || it.room.is_some() || it.read.is_some() || !is_known {
            return Err(room);
        }
        if matches!(it.inbox.front(), Some(Inbound::Bytes { .. })) {
            return Err(room);
        }
        it.room = Some(room);
        self.touch(conn);
        Ok(())
    }
}

impl<V: Verbs> Hub<V> {
    /// Whether the device can write to this room.
    fn knows(&self, room: &Room) -> bool {
        self.arenas.find(room.as_mut_ptr(), room.len()).is_some()
    }
}

impl<V: Verbs> Conn<V> {
    /// A message has come, in a receive that is held.
    fn message(
        &mut self,
        hub: &mut Hub<V>,
        (conn, number): (ConnId, u16),
        len: u32,
        immediate: Option<u32>,
    ) -> Result<(), Broken> {
        let heard = self.end.heard(immediate, len, || hub.memory.word(number));
        match heard {
            Ok(Heard::Bytes) => {
                hub.holders[usize::from(number)] = conn;
                self.inbox.push_back(Inbound::Bytes { number, len });
                Ok(())
            }
            Ok(Heard::Lent(len)) => {
                self.inbox.push_back(Inbound::Lent { len });
                // A part that is lent keeps its credit until it was read: so there are few at a time.
                self.release(hub, number)?;
                self.bound_inbox()
            }
            Ok(Heard::Nothing) => self.release(hub, number),
            Err(broken) => {
                hub.memory.release(number);
                Err(broken)
            }
        }
    }

    /// A client without credits that sends on is none of ours.
    fn bound_inbox(&self) -> Result<(), Broken> {
        if self.inbox.len() > usize::from(super::receives::RECEIVES) { Err(Broken::Flooded) } else { Ok(()) }
    }

    /// The receive of a message that is worked off.
    fn release(&mut self, hub: &mut Hub<V>, number: u16) -> Result<(), Broken> {
        hub.memory.release(number);
        match &hub.receives {
            Some(receives) => hub.memory.fill_shared(receives)?,
            None => hub.memory.post_own_next(self.end.pair(), self.lane)?,
        }
        Ok(())
    }

    /// Tells the worker what has come, and reads what was lent. True: the next is read when the worker had time to give room for it.
    pub(super) fn deliver(
        &mut self,
        conn: ConnId,
        hub: &mut Hub<V>,
        look: u64,
        events: &mut Vec<Event>,
    ) -> Result<bool, Broken> {
        while self.reading && self.read.is_none() {
            match self.inbox.front().copied() {
                Some(Inbound::Bytes { number, len }) => {
                    self.inbox.pop_front();
                    self.give_room_back(conn, events);
                    events.push(Event::Received { conn, buffer: buffer(number), len });
                    self.told_at = look;
                }
                Some(Inbound::Lent { .. }) if self.told_at == look => return Ok(true),
                Some(Inbound::Lent { len }) => {
                    if !self.lent_begun {
                        self.end.begin_lent(len)?;
                        self.lent_begun = true;
                    }
                    if !self.begin_read(conn, hub, events)? {
                        break;
                    }
                }
                None => break,
            }
        }
        Ok(false)
    }

    /// Begins to read the next of what was lent; false: it cannot be now.
    fn begin_read(
        &mut self,
        conn: ConnId,
        hub: &mut Hub<V>,
        events: &mut Vec<Event>,
    ) -> Result<bool, Broken> {
        let region = hub.memory.region();
        if let Some(room) = self.room.take() {
            let found = hub.arenas.find(room.as_mut_ptr(), room.len());
            let len = match found {
                Some(to) => self.end.read(region, to, room.len())?,
                None => 0,
            };
            if len > 0 {
                self.read = Some(Reading::Room(room, len as u32));
                return Ok(true);
            }
            events.push(Event::Filled { conn, room, len: 0 });
        }
        let Some(number) = hub.memory.take_pull() else {
            if !hub.wait_for_pull.contains(&conn) {
                hub.wait_for_pull.push(conn);
            }
            return Ok(false);
        };
        let region = hub.memory.region();
        let len = self.end.read(region, (region, hub.memory.pull_at(number)), PULL_BYTES);
        match len {
            Ok(len @ 1..) => {
                self.read = Some(Reading::Pull(number, len as u32));
                Ok(true)
            }
            len => {
                hub.memory.release_pull(number);
                len.map(|_| false)
            }
        }
    }

    /// The bytes of a READ have come, or will not.
    fn read_is_over(&mut self, conn: ConnId, hub: &mut Hub<V>, has_come: bool, events: &mut Vec<Event>) {
        match self.read.take() {
            Some(Reading::Room(room, len)) => {
                events.push(Event::Filled { conn, room, len: if has_come { len } else { 0 } });
            }
            Some(Reading::Pull(number, len)) if has_come => {
                events.push(Event::Received { conn, buffer: buffer(number), len });
            }
            Some(Reading::Pull(number, _)) => hub.memory.release_pull(number),
            None => {}
        }
        if has_come && self.end.lent_left() == 0 {
            self.inbox.pop_front();
            self.lent_begun = false;
            self.end.owe();
        }
    }

    pub(super) fn give_room_back(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        events.extend(self.room.take().map(|room| Event::Filled { conn, room, len: 0 }));
    }
}
