//! A turn: looks at the rings, then the sockets' turn, and what of it concerns rings.

use super::Rings;
use crate::transport::sockets::EVENTS_MAX;
use crate::transport::{ConnId, Event, Pieces, Transport};
use std::io;
use std::time::Duration;

/// Turns of the sockets' transport that are left out in a row: what it has to do by the clock must not wait for ever.
pub(crate) const SKIPS_MAX: u32 = 32;

impl<T: Transport> Rings<T> {
    /// [`Transport::turn`]
    pub(super) fn turn_with_rings(
        &mut self,
        wait: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        if self.table.is_empty() && self.pending.is_empty() && self.with_next.is_empty() {
            return self.sockets.turn(wait, events);
        }
        events.append(&mut self.with_next);
        let before = events.len();
        events.append(&mut self.pending);
        self.poll(events);
        let mut found = events.len() > before;
        // Behind each look: it writes what waited for room, of which nothing else tells.
        let all_awake = self.bells.ring(&mut self.table, &mut self.sockets);
        if !found && wait != Some(Duration::ZERO) && !self.may_sleep(all_awake) {
            self.poll(events);
            self.bells.ring(&mut self.table, &mut self.sockets);
            found = true;
        }
        if found && self.skips < SKIPS_MAX && !self.sockets.may_have_news() {
            self.skips += 1;
            return Ok(());
        }
        self.skips = 0;
        let wait = if found { Some(Duration::ZERO) } else { wait };
        self.sockets.turn(wait, &mut self.reported)?;
        self.pass_on(events);
        Ok(())
    }

    /// Says that this shard sleeps, perhaps after a moment's look if all who were told something are awake. False: something came.
    fn may_sleep(&mut self, all_awake: bool) -> bool {
        !(all_awake && self.lingers()) && self.table.announce_sleep()
    }

    /// Looks on for a moment, if that is worth it. True: something came.
    fn lingers(&mut self) -> bool {
        let looks = self.linger.looks(self.table.hot_count());
        for _ in 0..looks {
            if self.sockets.may_have_news() {
                return false;
            }
            if self.table.has_news() {
                self.linger.came_to(true);
                return true;
            }
            if !self.table.has_awake() {
                break;
            }
            std::hint::spin_loop();
        }
        if looks > 0 {
            self.linger.came_to(false);
        }
        false
    }

    /// Looks at the rings that are hot.
    fn poll(&mut self, events: &mut Vec<Event>) {
        let (count, end) = (self.table.hot_count(), events.len() + EVENTS_MAX);
        let (mut steps, mut cooled) = (1, false);
        for step in 0..count {
            let conn = self.table.hot_at(step);
            cooled |= !self.poll_one(conn, events);
            if events.len() >= end {
                steps += step;
                break;
            }
        }
        self.table.begin_later(steps);
        if cooled {
            self.table.drop_cold();
        }
        self.config.stats.rings_hot.set(self.table.hot_count() as u64);
    }

    /// Looks at one ring; false: it is not hot any more.
    fn poll_one(&mut self, conn: ConnId, events: &mut Vec<Event>) -> bool {
        let Some(ring) = self.table.find(conn) else { return false };
        if ring.closing {
            ring.hot = false;
            return false;
        }
        match ring.look(&mut self.buffers, events) {
            #[cfg(test)]
            Ok(true) if super::fault::has(super::fault::Fault::RestUnrung) => {}
            Ok(true) => self.bells.note(ring),
            Ok(false) => {}
            Err(broken) => {
                self.fail(conn, broken);
                return true;
            }
        }
        ring.hot
    }

    /// Passes on what the sockets' transport has reported; what it says of a socket with rings means something else.
    fn pass_on(&mut self, events: &mut Vec<Event>) {
        let mut reported = std::mem::take(&mut self.reported);
        for event in reported.drain(..) {
            match event {
                Event::Received { conn, buffer, len } if self.table.has(conn) => {
                    self.sockets.recycle(buffer);
                    self.hear_bell(conn, len, events);
                }
                Event::Sent { conn, pieces } if self.table.has(conn) => self.bell_is_back(conn, pieces),
                // Its process is gone, or wants no answers any more.
                Event::Ended { conn } if self.table.has(conn) => self.close(conn),
                Event::Closed { conn, .. } if self.table.has(conn) => {
                    let pieces = self.remove(conn);
                    events.push(Event::Closed { conn, pieces });
                }
                event => events.push(event),
            }
        }
        self.reported = reported;
    }

    fn hear_bell(&mut self, conn: ConnId, bells: u32, events: &mut Vec<Event>) {
        let Some(ring) = self.table.find(conn) else { return };
        self.bells.hear(ring, bells, &mut self.sockets);
        self.table.heat(conn);
        self.poll_one(conn, events);
    }

    fn bell_is_back(&mut self, conn: ConnId, bell: Pieces) {
        if let Some(ring) = self.table.find(conn) {
            self.bells.is_back(ring, bell, &mut self.sockets);
        }
    }
}
