//! A turn: completions of the queue pairs, then the sockets' turn, and what of it concerns queue pairs.

use super::conn::Phase;
use super::{ConnId, Event, Rdma, Transport};
use crate::transport::rings::SKIPS_MAX;
use std::io;
use std::time::{Duration, Instant};
use torc_rdma::Broken;
use torc_rdma::verbs::seam::Verbs;

/// Times between two looks at silent clients.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl<T: Transport, V: Verbs> Rdma<T, V> {
    /// [`Transport::turn`]
    pub(super) fn turn_with_pairs(
        &mut self,
        wait: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        events.append(&mut self.with_next);
        let before = events.len();
        events.append(&mut self.pending);
        if self.hub.is_none() {
            let wait = if events.len() > before { Some(Duration::ZERO) } else { wait };
            return self.sockets.turn(wait, events);
        }
        self.poll(events);
        let mut found = events.len() > before || !self.touched.is_empty();
        if !found && wait != Some(Duration::ZERO) && !self.may_sleep() {
            self.poll(events);
            found = true;
        }
        if found && self.skips < SKIPS_MAX && !self.sockets.may_have_news() {
            self.skips += 1;
            return Ok(());
        }
        self.skips = 0;
        self.look_after_all();
        let wait = if found { Some(Duration::ZERO) } else { self.patience(wait) };
        self.sockets.turn(wait, &mut self.reported)?;
        self.pass_on(events);
        Ok(())
    }

    /// Takes what has completed, and goes on with those that it concerns.
    fn poll(&mut self, events: &mut Vec<Event>) {
        let Some(hub) = &mut self.hub else { return };
        self.looks += 1;
        if hub.has_completions() {
            let mut completions = std::mem::take(&mut hub.completions);
            self.config.stats.pair_completions.add(completions.len() as u64);
            self.config.stats.pair_queue.set(completions.len() as u64);
            completions.drain(..).for_each(|completion| self.completed(&completion, events));
            if let Some(hub) = &mut self.hub {
                hub.completions = completions;
                hub.fill_shared();
            }
        }
        self.touch_those_that_wait();
        let mut touched = std::mem::take(&mut self.touched);
        for conn in touched.drain(..) {
            if let Err(broken) = self.go_on(conn, events) {
                self.fail(conn, broken);
            }
        }
        touched.append(&mut self.touched);
        self.touched = touched;
        self.go_on_ending();
        self.follow_device();
    }

    /// Goes on with one connection: what has come, what is being sent, what is to be given back.
    fn go_on(&mut self, conn: ConnId, events: &mut Vec<Event>) -> Result<(), Broken> {
        let looks = self.looks;
        let Some((it, hub)) = self.conns.find(conn).zip(self.hub.as_mut()) else { return Ok(()) };
        it.touched = false;
        if !it.phase.goes_on() {
            return Ok(());
        }
        let waits_for_room = it.deliver(conn, hub, looks, events)?;
        if !it.sending.is_empty() {
            it.write_on(hub)?;
            if it.has_sent_all() {
                events.push(Event::Sent { conn, pieces: std::mem::take(&mut it.sending) });
            }
        }
        it.end.settle(hub.memory.region())?;
        self.config.stats.pair_posted.add(it.posted_since());
        if waits_for_room {
            self.touch(conn);
        }
        Ok(())
    }

    /// Has those go on that waited for a pull, when there is one.
    fn touch_those_that_wait(&mut self) {
        let Some(hub) = self.hub.as_mut().filter(|hub| !hub.wait_for_pull.is_empty()) else { return };
        if hub.memory.has_pull() {
            std::mem::take(&mut hub.wait_for_pull).into_iter().for_each(|conn| self.touch(conn));
        }
    }

    /// Asks for a notice; false: something came meanwhile.
    fn may_sleep(&mut self) -> bool {
        self.hub.as_mut().is_none_or(super::Hub::arm)
    }

    /// How long the sockets may wait: what ends without a notice is looked at soon.
    fn patience(&self, wait: Option<Duration>) -> Option<Duration> {
        match (self.has_ending(), wait) {
            (false, wait) => wait,
            (true, Some(wait)) => Some(wait.min(super::ending::LOOK_EVERY)),
            (true, None) => Some(super::ending::LOOK_EVERY),
        }
    }

    /// Passes on what the sockets' transport has reported; what it says of a socket with a queue pair means something else.
    fn pass_on(&mut self, events: &mut Vec<Event>) {
        let mut reported = std::mem::take(&mut self.reported);
        for event in reported.drain(..) {
            match event {
                Event::Woken => {
                    self.hub.iter_mut().for_each(super::Hub::hear_notices);
                    events.push(Event::Woken);
                }
                // Nothing may come over the socket of one that has a queue pair.
                Event::Received { conn, buffer, .. } if self.conns.has(conn) => {
                    self.sockets.recycle(buffer);
                    self.fail(conn, Broken::Message);
                }
                Event::Ended { conn } if self.conns.has(conn) => self.shut(conn),
                Event::Closed { conn, pieces } if self.conns.has(conn) => self.end(conn, pieces, events),
                event => events.push(event),
            }
        }
        self.reported = reported;
    }

    /// Asks silent clients whether they are there, and ends those that do not answer; seldom.
    fn look_after_all(&mut self) {
        let Some(keepalive) = self.config.keepalive else { return };
        let now = Instant::now();
        if now.duration_since(self.looked_at) < LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        let Some(hub) = &self.hub else { return };
        let mut silent = Vec::new();
        for (conn, it) in self.conns.iter_mut().filter(|(_, it)| it.phase == Phase::Open) {
            if std::mem::take(&mut it.heard) {
                (it.heard_at, it.pinged) = (now, false);
            }
            let quiet_for = now.duration_since(it.heard_at);
            if quiet_for >= keepalive + self.config.answer_timeout {
                silent.push((conn, Broken::Silent));
            } else if quiet_for >= keepalive && !it.pinged {
                it.pinged = true;
                silent.extend(it.end.ping(hub.memory.region()).err().map(|broken| (conn, broken)));
            }
        }
        silent.into_iter().for_each(|(conn, broken)| self.fail(conn, broken));
    }
}
