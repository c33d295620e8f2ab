//! How parts are executed: here at once, here behind what waits, or begun at another shard.

#[cfg(test)]
use super::bug::Bug;
use super::compose::wait_behind;
use super::connection::{Connection, Phase};
use super::holds::Holder;
use super::joint;
use super::owned::OwnedPart;
use super::perform::perform;
use super::read_there::is_plain_read;
use super::state::WorkerState;
use super::tier::DURABILITY;
use super::upload::UploadPlace;
use super::view::context;
use crate::metrics::{CloseReason, CommandClass, OutcomeClass};
use crate::session::{Answer, Exec, Part, ReplyKind, Wish, Work};
use crate::transport::ConnId;
use torc_engine::command::{Command, Op};
use torc_proto::slot::slot_of;

/// Where a part goes, found out ahead of its execution.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prepared {
    /// Of the key, whatever its database.
    pub(crate) hash: u64,
    pub(crate) shard: u16,
    pub(crate) database: u16,
}

/// Whether what is new may be told behind this part: it belongs to a change of several keys, or to what EXEC runs, whose answers are one,
/// and that was begun when the news had been told.
fn is_told_with_others(conn: &Connection, part: &Part<'_>) -> bool {
    let is_of_exec = conn.in_transaction && !is_step(part) && !matches!(part.work, Work::Transaction { .. });
    is_of_exec || part.is_more_of_a_change()
}

impl WorkerState {
    /// Hash and owner of a key; starts to fetch its bucket.
    #[inline]
    pub(super) fn prepare(&self, command: &Command<'_>) -> Prepared {
        let shard = self.owner(command.key);
        let hash = self.shard.key_hash(command.key);
        if shard == self.number {
            self.shard.prefetch_bucket(command.database, hash);
        } else if is_plain_read(command) {
            self.siblings.prefetch_bucket(shard, command.database, hash);
        }
        Prepared { hash, shard, database: command.database }
    }

    pub(super) fn prepare_part(&self, part: &Part<'_>) -> Prepared {
        match &part.work {
            Work::Keyed(command) => self.prepare(command),
            _ => Prepared::default(),
        }
    }

    #[inline]
    pub(super) fn prefetch_item(&self, command: &Command<'_>, prepared: Prepared) {
        if prepared.shard == self.number {
            self.shard.prefetch_item(command.database, prepared.hash);
        } else if is_plain_read(command) {
            self.siblings.prefetch_item(prepared.shard, command.database, prepared.hash);
        }
    }

    /// As [`WorkerState::prepare`], for the key of a connection's long value that ends, if it is this shard's.
    pub(super) fn prepare_end(&mut self, id: ConnId) -> Prepared {
        let upload = self.connections.find(id).and_then(|conn| conn.upload.as_ref());
        let Some(upload) = upload.filter(|upload| matches!(upload.place, UploadPlace::Here(_))) else {
            return Prepared::default();
        };
        let (database, hash) = (upload.database, self.shard.key_hash(&upload.key));
        self.shard.prefetch_bucket(database, hash);
        Prepared { hash, shard: self.number, database }
    }

    #[inline]
    pub(super) fn owner(&self, key: &[u8]) -> u16 {
        if self.mail.is_alone() { self.number } else { self.shared.slots.owner(slot_of(key)) }
    }

    /// Executes parts of one connection in order. The fast way, for keys of this shard while nothing waits, is
    /// all in here; every other part is begun, or deferred.
    pub(super) fn execute(&mut self, id: ConnId, parts: &[Part<'_>], prepared: &[Prepared]) {
        let Some(mut conn) = self.connections.take(id) else { return };
        conn.output.prepare(|| self.pool.take());
        let changes = self.changes_before(|| parts.iter().filter_map(Part::wished));
        let output_bytes_max = self.output_bytes_max();
        self.sample(parts, prepared);
        self.write_as((self.number, id), || None);
        let mut answered = 0;
        let mut nothing_waits = self.nothing_waits(&conn);
        for (part, prepared) in parts.iter().zip(prepared) {
            // The part before may have pinned segments.
            let room = if self.shard.is_short_of_pins() { 0 } else { output_bytes_max };
            let direct = nothing_waits && conn.output.bytes() <= room;
            match &part.work {
                Work::Keyed(command)
                    if direct
                        && prepared.shard == self.number
                        && self.would_pin(command, prepared.hash).is_none()
                        && !self.is_held(command, || part.reply.wish()) =>
                {
                    if self.execute_keyed(&mut conn, part, command, prepared.hash) {
                        answered += 1;
                    } else {
                        self.defer(&mut conn, part, *prepared);
                        nothing_waits = false;
                    }
                }
                Work::Keyed(command)
                    if direct
                        && prepared.shard != self.number
                        && !conn.on_shard_port
                        && self.read_there(
                            &mut conn,
                            part,
                            (command, prepared.hash),
                            prepared.shard,
                            None,
                        ) =>
                {
                    answered += 1;
                }
                Work::ValueData(data) if direct && self.append_upload(&mut conn, data) => {}
                Work::Local if direct => {
                    self.stats.request(CommandClass::Local, OutcomeClass::Done);
                    self.compose(&mut conn, part, &[], &Answer::Local);
                    answered += 1;
                    // It may have begun a pause.
                    nothing_waits = self.nothing_waits(&conn);
                }
                _ => {
                    if conn.phase != Phase::Open {
                        break;
                    }
                    self.begin_or_defer(&mut conn, part, *prepared);
                    nothing_waits = self.nothing_waits(&conn);
                }
            }
        }
        self.answer_later(&mut conn, changes);
        self.turn.answered += answered;
        conn.answered += answered;
        self.count_errors(&mut conn);
        self.park_if_full(&mut conn);
        self.budget.charge(&mut conn);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
        self.connections.put(conn);
    }

    /// Whether a part is begun at once: nothing is before it, it may need no other's leave, and the connection is open.
    fn nothing_waits(&self, conn: &Connection) -> bool {
        conn.phase == Phase::Open
            && conn.queue.is_empty()
            && conn.deferred.is_empty()
            && conn.tracking.is_none()
            && !self.holds.is_any()
            && self.shared.tunables.paused(self.now).is_none()
    }

    /// Counts the keys of a few requests, to know which are asked for most.
    #[inline]
    fn sample(&mut self, parts: &[Part<'_>], prepared: &[Prepared]) {
        let mut from = 0;
        while let Some(place) = self.hot.next(parts.len(), from) {
            if let Work::Keyed(command) = &parts[place].work {
                self.hot.count(prepared[place].hash, command.database, command.key, self.ticks);
            }
            from = place + 1;
        }
    }

    /// False: the item has to be fetched first.
    #[inline]
    fn execute_keyed(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        command: &Command<'_>,
        hash: u64,
    ) -> bool {
        let (outcomes, stats) = ((&mut self.outcomes, &mut self.notices), &self.stats);
        let ticket = match perform(&mut self.shard, outcomes, stats, command, hash, part.once, self.now) {
            Ok(answer) => {
                if !conn.session.compose_usual(part.reply, &answer, &mut conn.output) {
                    let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
                    conn.session.compose(
                        part.reply,
                        command.key,
                        part.echo,
                        &answer,
                        &context,
                        &mut conn.output,
                    );
                }
                return true;
            }
            Err(ticket) => ticket,
        };
        // Once it is here, the item is found.
        let waiter = Some((&mut *conn, part.reply.deadline()));
        self.fetch(self.shard.item_hash(command.database, hash), ticket, waiter)
            && self.execute_keyed(conn, part, command, hash)
    }

    pub(super) fn compose(&self, conn: &mut Connection, part: &Part<'_>, key: &[u8], answer: &Answer<'_>) {
        let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
        conn.session.compose(part.reply, key, part.echo, answer, &context, &mut conn.output);
    }

    fn begin_or_defer(&mut self, conn: &mut Connection, part: &Part<'_>, prepared: Prepared) {
        if !conn.deferred.is_empty() || !self.begin(conn, part, prepared, self.turn.began_ns) {
            self.defer(conn, part, prepared);
        }
    }

    fn defer(&mut self, conn: &mut Connection, part: &Part<'_>, prepared: Prepared) {
        if conn.waits_for_tier {
            self.fetch_deferred(conn, part, prepared);
        }
        conn.deferred.push_back(OwnedPart::copy(part, self.turn.began_ns, &mut self.pool));
    }

    /// Begins what is deferred as far as it may be begun.
    pub(super) fn advance(&mut self, conn: &mut Connection) {
        if conn.asks_later || conn.waits_for_tier {
            return;
        }
        let changes =
            self.changes_before(|| conn.deferred.iter().filter_map(|deferred| deferred.part().wished()));
        while let Some(deferred) = conn.deferred.pop_front() {
            let part = deferred.part();
            let begun = if part.reply.deadline().is_past(self.now) && is_refused_late(&part.work) {
                self.refuse_late(conn, &part, deferred.read_ns);
                true
            } else {
                let prepared = self.prepare_part(&part);
                self.begin(conn, &part, prepared, deferred.read_ns)
            };
            if !begun {
                conn.deferred.push_front(deferred);
                if conn.waits_for_tier {
                    self.fetch_all_deferred(conn);
                }
                break;
            }
            self.unblock(conn);
            conn.ahead = conn.ahead.saturating_sub(1);
            self.pool.give(deferred.into_bytes());
        }
        self.answer_later(conn, changes);
        self.count_errors(conn);
    }

    #[inline]
    pub(super) fn count_errors(&self, conn: &mut Connection) {
        if let Some(errors) = conn.output.take_errors()
            && let Some(protocol) = conn.session.protocol()
        {
            self.stats.errors_answered(protocol, &errors);
        }
    }

    /// Begins a part. False: there is no room for its answer, or no place at the shard that has to give it.
    pub(super) fn begin(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        prepared: Prepared,
        read_ns: u64,
    ) -> bool {
        conn.asks_alone &= !conn.queue.is_empty();
        // Who holds keys, or wants to, and what is half done goes on whatever waits for its client: others wait for it.
        let goes_on = conn.in_transaction || conn.transaction.is_some() || is_step(part);
        if conn.asks_alone || !goes_on && !conn.has_room(self.output_bytes_max()) {
            return false;
        }
        // Keys that are held for it wait no longer than they must.
        if !goes_on && self.is_paused_for(part) {
            self.block(conn);
            self.ask_later(conn);
            return false;
        }
        self.write_as((self.number, conn.id), || conn.queue.next_place());
        if conn.tracking.is_some() && !is_told_with_others(conn, part) {
            self.tell_news(Some(conn));
        }
        match &part.work {
            Work::Keyed(command)
                if conn.in_transaction
                    && !is_step(part)
                    && self.is_too_long_to_run(conn, command, prepared.hash) =>
            {
                // What other shards answer may be shorter than the room that is set aside for it.
                if !conn.queue.is_empty() {
                    return false;
                }
                self.stats.request(CommandClass::of(&command.op), OutcomeClass::Refused);
                self.finish(conn, part, command.key, read_ns, Answer::Busy { limit: MAX_VALUE });
                true
            }
            Work::Keyed(command) => match self.destination(conn, command.key, prepared.shard) {
                Destination::Here if self.would_pin(command, prepared.hash).is_some() => {
                    self.ask_later(conn);
                    false
                }
                Destination::Here if self.refuses(command, part.reply.wish()) => {
                    self.stats.request(CommandClass::of(&command.op), OutcomeClass::Refused);
                    self.finish(conn, part, command.key, read_ns, Answer::Busy { limit: DURABILITY });
                    true
                }
                Destination::Here if self.is_held(command, || part.reply.wish()) => {
                    self.hold(conn);
                    false
                }
                Destination::Here
                    if self.holds.blocks(command.database, prepared.hash) && !conn.in_transaction =>
                {
                    self.wait_for_key(conn);
                    false
                }
                Destination::Here => self.perform_here(conn, part, command, prepared.hash, read_ns),
                Destination::There(shard) => {
                    // It may answer that it cannot know yet, and is asked again then: nothing may come in between.
                    let is_alone = self.shared.is_recovering(shard);
                    if is_alone && !conn.queue.is_empty() {
                        return false;
                    }
                    let keyed = (command, prepared.hash);
                    let may_read = conn.tracking.is_none();
                    #[cfg(test)]
                    let may_read = may_read || self.has(Bug::UntoldRead);
                    let begun = may_read && self.read_there(conn, part, keyed, shard, Some(read_ns))
                        || self.ask_keyed(conn, shard, part, keyed, read_ns);
                    conn.asks_alone = begun && is_alone;
                    begun
                }
                Destination::Moved(answer) => {
                    self.stats.request(CommandClass::of(&command.op), OutcomeClass::Moved);
                    self.finish(conn, part, command.key, read_ns, answer);
                    true
                }
            },
            Work::Flush { .. } | Work::Databases(_)
                if part.reply.wish() == Wish::Durable && self.lacks_tier(Wish::Durable) =>
            {
                self.stats.request(CommandClass::Flush, OutcomeClass::Refused);
                self.finish(conn, part, &[], read_ns, Answer::Busy { limit: DURABILITY });
                true
            }
            // It may tell of all shards, and what is behind it must not be done by then.
            Work::Local if conn.in_transaction && !conn.queue.is_empty() => false,
            Work::Transaction { .. } => self.begin_transaction(conn, part, read_ns),
            Work::Joint { joint, database, words } => {
                let asked = joint::Asked { joint: *joint, database: *database, words };
                self.begin_joint(conn, part, asked, read_ns)
            }
            Work::Script { script, database, words } => {
                self.begin_script(conn, part, (*script, *database, words), read_ns)
            }
            Work::Watch { database, key } => self.begin_watch(conn, part, (*database, key), read_ns),
            Work::Unwatch => {
                self.unwatch_all(conn);
                self.finish(conn, part, &[], read_ns, Answer::Local);
                true
            }
            Work::Databases(change) => self.begin_databases(conn, part, *change, read_ns),
            Work::Flush { at } => self.begin_flush(conn, part, *at, read_ns),
            Work::Scan { cursor, count, .. } => self.begin_scan(conn, part, (*cursor, *count), read_ns),
            Work::Walk { over, .. } => self.begin_walk(conn, part, *over, read_ns),
            Work::Attach { reads } => self.begin_attach(conn, part, *reads, read_ns),
            Work::Messages { about, name, message } => {
                self.begin_messages(conn, part, (*about, name, message), read_ns)
            }
            Work::Tracking { asked, prefixes } => {
                self.begin_tracking(conn, part, (*asked, prefixes), read_ns)
            }
            Work::Reads { asked } => self.give_reads(conn, part, asked, read_ns),
            Work::Pair { client } => self.begin_pair(conn, part, client, read_ns),
            Work::Monitor { sees } => self.begin_monitor(conn, part, *sees, read_ns),
            Work::Sleep { ms } => self.begin_sleep(conn, part, *ms, read_ns),
            Work::Enter { user, password } => self.begin_enter(conn, part, (user, password), read_ns),
            Work::Told(told, value) => {
                self.take_told(*told, value);
                self.stats.request(CommandClass::Local, OutcomeClass::Done);
                self.finish(conn, part, &[], read_ns, Answer::Local);
                true
            }
            Work::Local | Work::Close => {
                self.stats.request(CommandClass::Local, OutcomeClass::Done);
                self.finish(conn, part, &[], read_ns, Answer::Local);
                true
            }
            _ => self.begin_value_part(conn, part, read_ns),
        }
    }

    /// The length of the value that a read would lend though no more may be lent now.
    #[inline]
    pub(super) fn would_pin(&self, command: &Command<'_>, hash: u64) -> Option<u64> {
        match command.op {
            Op::Read(_) if self.shard.is_out_of_pins() => {
                self.shard.long_value_bytes(command.database, command.key, hash)
            }
            _ => None,
        }
    }

    /// Executes a part's command on this shard. False: the item has to be fetched first.
    pub(super) fn perform_here(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        command: &Command<'_>,
        hash: u64,
        read_ns: u64,
    ) -> bool {
        if conn.tracking.is_some() {
            let tracks = self.tracks(conn, command, is_step(part));
            self.track(Holder { shard: self.number, conn: conn.id }, tracks, command, hash);
        }
        let (outcomes, stats) = ((&mut self.outcomes, &mut self.notices), &self.stats);
        let ticket = match perform(&mut self.shard, outcomes, stats, command, hash, part.once, self.now) {
            Ok(answer) if is_step(part) && conn.queue.is_empty() => {
                let lent = conn.take_step(&answer);
                lent.into_iter().for_each(|lent| self.release(lent));
                return true;
            }
            Ok(answer) if conn.queue.is_empty() => {
                conn.output.prepare(|| self.pool.take());
                let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
                conn.session.compose(part.reply, command.key, part.echo, &answer, &context, &mut conn.output);
                self.turn.waited.add(read_ns);
                conn.answered += 1;
                self.note_waited(conn, &part.reply, (command.key, part.echo), read_ns);
                return true;
            }
            Ok(answer) => {
                if let Some(tracking) = conn.tracking.as_mut().filter(|_| !is_step(part)) {
                    tracking.waiting.begin(conn.queue.end(), hash);
                }
                let keyed = (command.key, answer, read_ns);
                wait_behind(conn, part, keyed, &mut self.pool, (self.now, &self.view));
                return true;
            }
            Err(ticket) => ticket,
        };
        // Once it is here, the item is found.
        let waiter = Some((&mut *conn, part.reply.deadline()));
        self.fetch(self.shard.item_hash(command.database, hash), ticket, waiter)
            && self.perform_here(conn, part, command, hash, read_ns)
    }

    /// Answers a part with what needs no shard's memory: now, or behind what waits.
    pub(super) fn finish(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        key: &[u8],
        read_ns: u64,
        answer: Answer<'_>,
    ) {
        if !conn.queue.is_empty() {
            return wait_behind(conn, part, (key, answer, read_ns), &mut self.pool, (self.now, &self.view));
        }
        if is_step(part) {
            return conn.take_step(&answer).into_iter().for_each(|lent| self.release(lent));
        }
        if conn.phase != Phase::Open {
            return;
        }
        conn.output.prepare(|| self.pool.take());
        self.compose(conn, part, key, &answer);
        self.turn.waited.add(read_ns);
        conn.answered += 1;
        // EXEC is answered in two parts.
        if !matches!(answer, Answer::Exec(Exec::Begun(_))) {
            self.note_waited(conn, &part.reply, (key, part.echo), read_ns);
        }
        if conn.ends_behind_answer {
            conn.phase = Phase::Finishing(CloseReason::Killed);
        }
        if matches!(part.work, Work::Close) {
            self.end_by_answer(conn, &part.reply);
        }
    }

    pub(super) fn end_by_answer(&mut self, conn: &mut Connection, reply: &ReplyKind) {
        if let ReplyKind::Refused(refused) = reply {
            self.stats.protocol_refusals.add(1);
            if self.refusals_told.is_due(self.ticks) {
                let (shard, peer) = (self.number, &*conn.peer);
                tracing::info!(shard, %peer, "a client spoke {refused}, which is not served; others within 10 s are not told");
            }
        }
        conn.phase = Phase::Finishing(CloseReason::Answered);
    }

    /// Answers a part whose deadline was over before it was begun.
    pub(super) fn refuse_late(&mut self, conn: &mut Connection, part: &Part<'_>, read_ns: u64) {
        let (class, key) = match &part.work {
            Work::Keyed(command) => (CommandClass::of(&command.op), command.key),
            Work::Flush { .. } | Work::Databases(_) => (CommandClass::Flush, &[][..]),
            Work::ValueEnd | Work::ValueEndWith { .. } => (CommandClass::Write, &[][..]),
            _ => (CommandClass::Local, &[][..]),
        };
        self.stats.request(class, OutcomeClass::Refused);
        self.finish(conn, part, key, read_ns, Answer::DeadlineExceeded);
    }

    /// Where a key of this connection is served, which belongs to `shard`.
    pub(super) fn destination(&self, conn: &Connection, key: &[u8], shard: u16) -> Destination {
        #[cfg(test)]
        if shard != self.number && self.has(Bug::OpenShardPort) {
            return Destination::There(shard);
        }
        if shard == self.number {
            Destination::Here
        } else if conn.is_of_one_shard() {
            Destination::Moved(Answer::Moved { slot: slot_of(key), shard, epoch: self.shared.slots.epoch() })
        } else {
            Destination::There(shard)
        }
    }
}

/// The setting that bounds what a transaction may answer.
const MAX_VALUE: &str = "max-value";

/// Where a key is served.
pub(super) enum Destination {
    Here,
    There(u16),
    /// Elsewhere, and the client is told so.
    Moved(Answer<'static>),
}

/// Whether no client sees the answer.
pub(super) fn is_step(part: &Part<'_>) -> bool {
    matches!(part.reply, ReplyKind::Step)
}

/// Whether a late part needs nothing but the refusal. The end of a value does: its upload has to be given up.
fn is_refused_late(work: &Work<'_>) -> bool {
    matches!(work, Work::Keyed(_) | Work::Flush { .. } | Work::Databases(_) | Work::Local)
}
