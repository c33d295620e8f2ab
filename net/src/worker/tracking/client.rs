//! What a client asks about the keys that it keeps copies of, at its own shard.

use super::Tracking;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{self, Answer, Mode, NotTold, NotTracked, Part, Tracked, Wanted, Which};
use crate::transport::ConnId;
use crate::worker::connection::Connection;
use crate::worker::holds::Holder;
use crate::worker::mail::{Ask, AskBytes, What};
use crate::worker::owned::OwnedAnswer;
use crate::worker::state::WorkerState;

impl WorkerState {
    /// Begins a part about tracking. False: it has to wait.
    pub(in crate::worker) fn begin_tracking(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (asked, prefixes): (session::Tracking, &[u8]),
        read_ns: u64,
    ) -> bool {
        let outcome = match asked {
            session::Tracking::Begin(mode) if mode.redirect != 0 => {
                return self.begin_redirected(conn, part, (mode, prefixes), read_ns);
            }
            session::Tracking::Begin(mode) => self.begin_told(conn, (mode, None), prefixes),
            session::Tracking::End => {
                self.end_tracking(conn);
                Ok(())
            }
            session::Tracking::Caching(yes) => match &mut conn.tracking {
                Some(tracking) => tracking.wanted.cache(yes),
                None => Err(NotTracked::NotCaching),
            }
            .map_err(|why| (why, Vec::new())),
            session::Tracking::CachingOver => {
                conn.tracking.iter_mut().for_each(|tracking| tracking.wanted.caching = false);
                Ok(())
            }
            session::Tracking::Look => Ok(()),
        };
        let (outcome, words) = self.tracked(conn, outcome);
        self.finish(conn, part, &[], read_ns, Answer::Tracking { outcome, words: &words });
        true
    }

    /// Counts what was asked, and says how it is answered.
    fn tracked(
        &self,
        conn: &Connection,
        outcome: Result<(), NotTold>,
    ) -> (Result<Tracked, NotTracked>, Vec<u8>) {
        let class = if outcome.is_ok() { OutcomeClass::Done } else { OutcomeClass::Refused };
        self.stats.request(CommandClass::Local, class);
        match (outcome, &conn.tracking) {
            (Err((why, words)), _) => (Err(why), words),
            (Ok(()), None) => (Ok(Tracked::default()), Vec::new()),
            (Ok(()), Some(tracking)) => (Ok(tracking.told()), tracking.wanted.prefix_words()),
        }
    }

    /// Who is to be told has to be there: its shard is asked, and nothing is begun behind that.
    fn begin_redirected(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (mode, prefixes): (Mode, &[u8]),
        read_ns: u64,
    ) -> bool {
        if !conn.queue.is_empty() {
            return false;
        }
        // Numbers are given out so: see `WorkerState::accepted`.
        let shard = (mode.redirect % u64::from(self.mail.shards())) as u16;
        if shard == self.number {
            let target = if mode.redirect == conn.number { Some(conn.id) } else { self.find_target(mode) };
            target.into_iter().for_each(|target| self.add_target(target));
            let outcome = self.begin_redirected_to(conn, (mode, shard, target), prefixes);
            let (outcome, words) = self.tracked(conn, outcome);
            self.finish(conn, part, &[], read_ns, Answer::Tracking { outcome, words: &words });
            return true;
        }
        let ask = Ask::plain(conn.next_address(), What::Target(mode));
        if !self.ask(conn, shard, &ask, AskBytes { value: prefixes, ..AskBytes::default() }) {
            return false;
        }
        self.wait_for(conn, part, read_ns, (1, 0), None);
        conn.asks_alone = true;
        true
    }

    /// Another shard says who it is, if it is there.
    pub(in crate::worker) fn take_target(
        &mut self,
        conn: &mut Connection,
        (mode, sequence): (Mode, u32),
        bytes: AskBytes<'_>,
        target: Option<ConnId>,
    ) {
        let shard = (mode.redirect % u64::from(self.mail.shards())) as u16;
        let outcome = self.begin_redirected_to(conn, (mode, shard, target), bytes.value);
        let (outcome, words) = self.tracked(conn, outcome);
        self.take_answer(conn, sequence, bytes, &words, (OwnedAnswer::Tracking(outcome), None));
    }

    fn begin_redirected_to(
        &mut self,
        conn: &mut Connection,
        (mode, shard, target): (Mode, u16, Option<ConnId>),
        prefixes: &[u8],
    ) -> Result<(), NotTold> {
        let target = target.ok_or((NotTracked::NoClient, Vec::new()))?;
        self.begin_told(conn, (mode, Some(Holder { shard, conn: target })), prefixes)
    }

    /// The client of this shard that is to be told in place of another.
    pub(in crate::worker) fn find_target(&mut self, mode: Mode) -> Option<ConnId> {
        let mut places = 0..self.connections.places();
        places.find_map(|place| {
            let conn = self.connections.at(place)?;
            (conn.number == mode.redirect).then_some(conn.id)
        })
    }

    /// Others are told by this client.
    pub(in crate::worker) fn add_target(&mut self, id: ConnId) {
        if !self.trackers.targets.contains(&id) {
            self.trackers.targets.push(id);
        }
    }

    fn begin_told(
        &mut self,
        conn: &mut Connection,
        (mode, target): (Mode, Option<Holder>),
        prefixes: &[u8],
    ) -> Result<(), NotTold> {
        let before = conn.tracking.as_ref().map(|tracking| &tracking.wanted);
        let wanted = Wanted::begin(before, mode, prefixes, self.settings.subscriptions_max)?;
        let waiting = conn.tracking.as_mut().map(|tracking| std::mem::take(&mut tracking.waiting));
        self.end_tracking(conn);
        self.trackers.clients.push(conn.id);
        if mode.which == Which::Prefixes {
            self.trackers.by_prefixes.push(conn.id);
            self.trackers.prefixes += wanted.prefixes.len();
        }
        conn.has_tracked = true;
        let waiting = waiting.unwrap_or_default();
        conn.tracking = Some(Box::new(Tracking { wanted, target, is_broken: false, waiting }));
        self.count_trackers();
        Ok(())
    }

    /// A client is not told any more. What it has read stays in tables until that changes.
    pub(in crate::worker) fn end_tracking(&mut self, conn: &mut Connection) {
        let Some(tracking) = conn.tracking.take() else { return };
        let id = conn.id;
        self.trackers.clients.retain(|other| *other != id);
        self.trackers.by_prefixes.retain(|other| *other != id);
        self.trackers.prefixes -= tracking.wanted.prefixes.len();
        self.count_trackers();
    }

    /// A connection is gone.
    pub(in crate::worker) fn leave_tracking(&mut self, conn: &mut Connection) {
        let id = conn.id;
        if !self.trackers.targets.is_empty() {
            self.trackers.targets.retain(|other| *other != id);
        }
        if !conn.has_tracked {
            return;
        }
        self.end_tracking(conn);
        for shard in 0..self.mail.shards() {
            if shard == self.number {
                self.untrack(Holder { shard, conn: id });
            } else if let Some(lane) = self.mail.lane(shard) {
                lane.ask_anyway(&Ask::plain(conn.next_address(), What::Untrack));
            }
        }
    }

    fn count_trackers(&mut self) {
        let (clients, by_prefixes) = (self.trackers.clients.len(), self.trackers.by_prefixes.len());
        self.shared.trackers.tell(self.number, clients);
        self.shared.broadcasts.tell(self.number, by_prefixes);
        self.stats.tracking_clients.set(clients as u64);
        self.stats.tracking_prefixes.set(self.trackers.prefixes as u64);
        self.look_for_trackers();
    }
}
