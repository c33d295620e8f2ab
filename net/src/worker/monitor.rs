//! MONITOR shows clients what all others ask for, `watch` what becomes of items (noted in `notices/`). Nobody who is not monitored pays for more than a look at a flag.

use super::connection::{Connection, Phase};
use super::script::Shown;
use super::state::WorkerState;
use crate::metrics::{CloseReason, CommandClass, OutcomeClass};
use crate::observed::Sees;
use crate::session::{Answer, Part, ReplyKind, Scratch, Work, monitor_line};
use std::fmt::Display;
use torc_engine::command::Millis;

/// What a client is told when there are as many monitors as may be.
const MONITORS: &str = "monitors";
/// In whose name scripts call commands.
const SCRIPT: &str = "lua";

fn begin_line(now: Millis, database: u16, from: &impl Display, lines: &mut Vec<u8>) {
    let (seconds, us) = (now / 1000, now % 1000 * 1000);
    lines.extend_from_slice(format!("+{seconds}.{us:06} [{database} {from}] ").as_bytes());
}

impl WorkerState {
    /// Lets a client monitor the server, or no more. Who watches events may choose others.
    #[cold]
    pub(super) fn begin_monitor(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        sees: Option<Sees>,
        read_ns: u64,
    ) -> bool {
        let goes_on = sees == Some(Sees::Requests) && conn.monitor.is_some();
        if !goes_on {
            self.end_monitor(conn);
        }
        if let Some(sees) = sees.filter(|_| !goes_on) {
            conn.monitor = self.shared.observed.monitors.begin(sees);
            if conn.monitor.is_none() {
                self.stats.request(CommandClass::Local, OutcomeClass::Refused);
                self.finish(conn, part, &[], read_ns, Answer::Busy { limit: MONITORS });
                return true;
            }
            self.monitoring.here.push(conn.id);
            self.look_for_listeners();
        }
        self.stats.request(CommandClass::Local, OutcomeClass::Done);
        self.finish(conn, part, &[], read_ns, Answer::Local);
        true
    }

    pub(super) fn end_monitor(&mut self, conn: &mut Connection) {
        if let Some(monitor) = conn.monitor.take() {
            self.shared.observed.monitors.end(&monitor);
            self.monitoring.here.retain(|id| *id != conn.id);
        }
    }

    /// Notes what a connection has asked for: `parts` were parsed, and RESP has noted its own words.
    #[cold]
    pub(super) fn note_asked(&mut self, conn: &mut Connection, scratch: &Scratch, parts: &[Part<'_>]) {
        let (now, peer, lines) = (self.now, &conn.peer, &mut self.monitoring.lines);
        let mut notes = scratch.notes();
        // EXEC is shown when what it runs has been.
        let is_exec = matches!(parts.last(), Some(Part { work: Work::Transaction { .. }, .. }));
        if is_exec {
            conn.noted_exec = notes.pop().map(Box::new);
        }
        notes.iter().for_each(|(database, words)| {
            begin_line(now, *database, peer, lines);
            lines.extend_from_slice(words);
            lines.extend_from_slice(b"\r\n");
        });
        for part in parts.iter().filter(|part| !matches!(part.reply, ReplyKind::Resp(_))) {
            let key = match &part.work {
                Work::Keyed(command) | Work::ValueBegin { command, .. } => command.key,
                Work::Flush { .. } => &[],
                _ => continue,
            };
            let Some(words) = part.reply.words(key, part.echo) else { continue };
            begin_line(now, 0, peer, lines);
            monitor_line(&words, lines);
        }
    }

    /// A transaction has ended, or was refused: shows the EXEC of it, if anybody is left to see it.
    #[inline]
    pub(super) fn note_exec(&mut self, conn: &mut Connection) {
        if let Some(exec) = conn.noted_exec.take()
            && self.monitoring.is_on
        {
            let (database, words) = *exec;
            begin_line(self.now, database, &conn.peer, &mut self.monitoring.lines);
            self.monitoring.lines.extend_from_slice(&words);
            self.monitoring.lines.extend_from_slice(b"\r\n");
        }
    }

    /// Notes what a script has called.
    #[cold]
    pub(super) fn note_called(&mut self, shown: &Shown) {
        let (now, lines) = (self.now, &mut self.monitoring.lines);
        for (database, words) in &shown.calls {
            begin_line(now, *database, &SCRIPT, lines);
            lines.extend_from_slice(words);
            lines.extend_from_slice(b"\r\n");
        }
        if shown.more > 0 {
            begin_line(now, 0, &SCRIPT, lines);
            lines.extend_from_slice(format!("\"... ({} more commands)\"\r\n", shown.more).as_bytes());
        }
    }

    /// Tells monitors what this turn has noted, and this shard's clients what all have.
    #[inline]
    pub(super) fn tell_monitors(&mut self) {
        if self.monitoring.is_on || !self.monitoring.here.is_empty() {
            self.tell_all_monitors();
        }
    }

    #[cold]
    fn tell_all_monitors(&mut self) {
        if !self.monitoring.lines.is_empty() {
            self.shared.observed.monitors.tell(&self.monitoring.lines);
            self.monitoring.lines.clear();
            self.monitoring.lines.shrink_to(16 << 10);
        }
        // A client that is cut off leaves the list.
        let mut place = 0;
        while let Some(&id) = self.monitoring.here.get(place) {
            if let Some(mut conn) = self.connections.take(id) {
                self.feed(&mut conn);
                self.connections.put(conn);
            }
            place += usize::from(self.monitoring.here.get(place) == Some(&id));
        }
    }

    /// Gives a client the lines that wait for it, if nothing else is being written for it. One that is slower than others ask is cut off.
    fn feed(&mut self, conn: &mut Connection) {
        let Some(monitor) = conn.monitor.clone().filter(|monitor| monitor.has_news()) else { return };
        let is_between = conn.queue.is_empty()
            && conn.deferred.is_empty()
            && !conn.in_transaction
            && !conn.session.is_within_request();
        if monitor.is_lost() {
            self.stats.monitors_lost.add(1);
            self.end_monitor(conn);
            if conn.phase == Phase::Open {
                conn.phase = Phase::Finishing(CloseReason::Slow);
            }
        } else if is_between && conn.phase == Phase::Open && conn.has_room(self.output_bytes_max()) {
            conn.output.prepare(|| self.pool.take());
            monitor.take(conn.output.tail());
        } else {
            return;
        }
        self.budget.charge(conn);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(conn.id);
        }
    }

    /// Whether this shard has to look often whether others have noted something.
    pub(super) fn has_monitors(&self) -> bool {
        !self.monitoring.here.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::session::Protocol;
    use crate::worker::testing::{CONN, with_client};

    #[test]
    fn an_exec_that_nobody_is_left_to_see_is_forgotten() {
        let mut state = with_client(Protocol::Resp);
        let mut conn = state.connections.take(CONN).expect("it is there");
        for is_on in [true, false] {
            conn.noted_exec = Some(Box::new((0, b"\"exec\"".to_vec())));
            state.monitoring.is_on = is_on;
            state.note_exec(&mut conn);
            assert_eq!(std::mem::take(&mut state.monitoring.lines).is_empty(), !is_on);
            assert!(conn.noted_exec.is_none());
        }
        state.connections.put(conn);
    }
}
