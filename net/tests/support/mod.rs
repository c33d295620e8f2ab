//! A session with a store behind it, and nothing else: what a worker does, one part at a time.
//!
//! Each test binary compiles this for itself and uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "every test binary has its own copy and uses another part")]

pub mod memcached;
pub mod messages;
pub mod model;
pub mod tracking;
pub mod vectors;

use messages::{Subscriptions, Told};
use torc_engine::command::{Body, Command, Millis, Op, Outcome, Refusal, UploadId, Write};
use torc_engine::segments::Lent;
use torc_engine::{Shard, ShardConfig};
use torc_net::session::{
    Answer, ComposeContext, DatabasesChange, Exec, Jointly, Limits, Output, Over, Piece, Port, Protocol,
    ReplyKind, Scratch, ServerView, Session, Work,
};
use tracking::Tracker;

/// What executes commands: the model or a real shard.
pub trait Store {
    fn execute(&mut self, command: &Command<'_>, now: Millis) -> Outcome<'_>;
    fn flush(&mut self, at: Option<Millis>, now: Millis);
    /// Who has one database has all of it flushed.
    fn change_databases(&mut self, _: DatabasesChange, now: Millis) {
        self.flush(None, now);
    }
    fn upload_begin(&mut self, key: &[u8], bytes: u64, now: Millis) -> Result<UploadId, Refusal>;
    fn upload_append(&mut self, id: UploadId, bytes: &[u8], now: Millis) -> Result<(), Refusal>;
    fn upload_abort(&mut self, id: UploadId);
    fn release(&mut self, lent: Lent);
}

impl Store for Shard {
    fn execute(&mut self, command: &Command<'_>, now: Millis) -> Outcome<'_> {
        let hash = self.key_hash(command.key);
        Shard::execute(self, command, hash, now)
    }
    fn flush(&mut self, at: Option<Millis>, now: Millis) {
        Shard::flush(self, at, now);
    }
    fn change_databases(&mut self, change: DatabasesChange, now: Millis) {
        let version = self.draw_version(now);
        let table = match change {
            DatabasesChange::Flush { database } => {
                self.spaces().flushed(database.into(), version, |_| true).expect("a space")
            }
            DatabasesChange::Swap { one, other } => self.spaces().swapped(one.into(), other.into(), version),
        };
        self.set_spaces(&table, now);
    }
    fn upload_begin(&mut self, key: &[u8], bytes: u64, now: Millis) -> Result<UploadId, Refusal> {
        Shard::upload_begin(self, 0, key, bytes, now)
    }
    fn upload_append(&mut self, id: UploadId, bytes: &[u8], now: Millis) -> Result<(), Refusal> {
        Shard::upload_append(self, id, bytes, now)
    }
    fn upload_abort(&mut self, id: UploadId) {
        Shard::upload_abort(self, id);
    }
    fn release(&mut self, lent: Lent) {
        Shard::release(self, lent);
    }
}

/// A small shard.
pub fn shard(now: Millis) -> Shard {
    Shard::new(ShardConfig { now, value_bytes_max: 1 << 20, ..ShardConfig::new(64 << 20) })
        .expect("64 MiB of address space")
}

/// Limits small enough to be met in tests.
pub const LIMITS: Limits = Limits {
    key_bytes_max: 250,
    value_bytes_max: 1 << 20,
    value_bytes_inline: 16 << 10,
    frame_bytes_max: 64 << 10,
    arguments_max: 1024,
    databases: 16,
    makes_durable: true,
    has_password: false,
    debug_commands: false,
};

/// One connection.
pub struct Connection {
    session: Session,
    /// Received and not worked off.
    input: Vec<u8>,
    upload: Option<Upload>,
    subscriptions: Subscriptions,
    tracker: Tracker,
    output: Output,
    pub limits: Limits,
    /// Parts of a round.
    pub parts_max: usize,
    pub closed: bool,
}

/// A value under way; `id` says why there is none.
struct Upload {
    key: Vec<u8>,
    op: Op<'static>,
    id: Result<UploadId, Refusal>,
}

impl Connection {
    pub fn new(protocol: Option<Protocol>) -> Connection {
        Connection {
            session: Session::new(protocol, Port::Common),
            input: Vec::new(),
            upload: None,
            subscriptions: Subscriptions::default(),
            tracker: Tracker::default(),
            output: Output::default(),
            limits: LIMITS,
            parts_max: 64,
            closed: false,
        }
    }

    /// One that has to give the password `s3cret` first.
    pub fn locked(protocol: Option<Protocol>) -> Connection {
        let session = Session::locked(protocol, Port::Common);
        let limits = Limits { has_password: true, ..LIMITS };
        Connection { session, limits, ..Connection::new(protocol) }
    }

    /// Receives bytes and gives back what is answered to them.
    pub fn send(&mut self, bytes: &[u8], store: &mut impl Store, now: Millis) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while !self.closed {
            let scratch = Scratch::default();
            let mut parts = Vec::new();
            let rest = &input[at..];
            let parsed = self.session.parse(rest, &scratch, now, &self.limits, &mut parts, self.parts_max);
            assert!(parsed.consumed <= rest.len(), "more consumed than there is");
            assert!(parts.len() <= self.parts_max.saturating_add(2), "{} parts", parts.len());
            at += parsed.consumed;
            let idle = parts.is_empty() && parsed.consumed == 0;
            for part in parts {
                self.execute(&part.work, part.reply, part.echo, store, now);
            }
            if idle {
                break;
            }
        }
        self.input = input[at..].to_vec();
        self.sent(store)
    }

    /// Bytes received and not worked off.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    fn execute(
        &mut self,
        work: &Work<'_>,
        reply: ReplyKind,
        echo: &[u8],
        store: &mut impl Store,
        now: Millis,
    ) {
        match work {
            Work::Keyed(command) => {
                let outcome = store.execute(command, now);
                let has_changed = Tracker::changes(command, &outcome);
                self.compose(reply, command.key, echo, &Answer::Outcome(outcome), now);
                self.tracker.executed(command, has_changed, &mut self.session, &mut self.output);
            }
            Work::ValueBegin { command, bytes } => {
                let op = match &command.op {
                    Op::Write(write) => Op::Write(write.with_value(Body::Bytes(&[]))),
                    Op::SetRange { offset, .. } => Op::SetRange { offset: *offset, value: Body::Bytes(&[]) },
                    _ => panic!("only writes have values: {command:?}"),
                };
                let id = store.upload_begin(command.key, *bytes, now);
                self.upload = Some(Upload { key: command.key.to_vec(), op, id });
            }
            Work::ValueData(bytes) => {
                let upload = self.upload.as_mut().expect("a value has begun");
                if let Ok(id) = upload.id
                    && let Err(refusal) = store.upload_append(id, bytes, now)
                {
                    upload.id = Err(refusal);
                }
            }
            Work::ValueEnd => self.end_value(None, reply, echo, store, now),
            Work::ValueEndWith { mode, expiry, want_old } => {
                self.end_value(Some((*mode, *expiry, *want_old)), reply, echo, store, now);
            }
            Work::ValueAbort => {
                let upload = self.upload.take().expect("a value has begun");
                if let Ok(id) = upload.id {
                    store.upload_abort(id);
                }
                self.compose(reply, &upload.key, echo, &Answer::Local, now);
            }
            Work::Databases(change) => {
                store.change_databases(*change, now);
                self.compose(reply, &[], echo, &Answer::Flushed, now);
                self.tracker.flushed(&mut self.session, &mut self.output);
            }
            Work::Flush { at } => {
                store.flush(*at, now);
                self.compose(reply, &[], echo, &Answer::Flushed, now);
                self.tracker.flushed(&mut self.session, &mut self.output);
            }
            Work::Scan { .. } => {
                self.compose(reply, &[], echo, &Answer::Scanned { cursor: 0, keys: &[] }, now);
            }
            Work::Messages { about, name, message } => {
                let asked = (*about, *name, *message);
                let told = self.subscriptions.execute(asked, echo, &mut self.session, &mut self.output);
                let answer = match &told {
                    Told::Local => Answer::Local,
                    Told::Subscribed(count) => Answer::Subscribed(*count),
                    Told::Unsubscribed { names, left } => Answer::Unsubscribed { names, left: *left },
                    Told::Published(count) => Answer::Published(*count),
                    Told::Inspected(found) => Answer::Inspected(found),
                };
                self.compose(reply, &[], echo, &answer, now);
            }
            Work::Tracking { asked, prefixes } => {
                let (outcome, words) = self.tracker.ask(*asked, prefixes);
                self.compose(reply, &[], echo, &Answer::Tracking { outcome, words: &words }, now);
            }
            // A store of one key at a time does none of it.
            Work::Joint { .. } => self.compose(reply, &[], echo, &Answer::Jointly(Jointly::NotDone), now),
            Work::Script { .. } => self.compose(reply, &[], echo, &Answer::Script(b"$-1\r\n"), now),
            Work::Transaction { .. } => self.run_transaction(reply, store, now),
            // Nobody else changes anything.
            Work::Watch { .. }
            | Work::Unwatch
            | Work::Local
            | Work::Told(..)
            | Work::Monitor { .. }
            | Work::Sleep { .. } => self.compose(reply, &[], echo, &Answer::Local, now),
            // A dump is told that nothing more comes.
            Work::Walk { over, .. } => {
                let count = u64::from(matches!(over, Over::Dump(_)));
                self.compose(reply, &[], echo, &Answer::Walked { count, found: &[] }, now);
            }
            Work::Attach { .. } => {
                let answer = Answer::Attach(Err(torc_net::session::AttachRefusal::Off));
                self.compose(reply, &[], echo, &answer, now);
            }
            Work::Reads { .. } => {
                let answer = Answer::Reads(Err(torc_net::session::PairRefusal::Off));
                self.compose(reply, &[], echo, &answer, now);
            }
            Work::Pair { .. } => {
                let answer = Answer::Pair(Err(torc_net::session::PairRefusal::Off));
                self.compose(reply, &[], echo, &answer, now);
            }
            Work::Enter { user, password } => {
                let is_through = (*user, *password) == (b"default", b"s3cret");
                self.session.entered(is_through);
                self.compose(reply, &[], echo, &Answer::Entered(is_through), now);
            }
            Work::Close => {
                self.compose(reply, &[], echo, &Answer::Local, now);
                self.closed = true;
            }
        }
    }

    fn run_transaction(&mut self, reply: ReplyKind, store: &mut impl Store, now: Millis) {
        let Some(mut transaction) = self.session.take_transaction() else {
            return self.compose(reply, &[], &[], &Answer::Exec(Exec::Aborted), now);
        };
        let begun = Answer::Exec(Exec::Begun(transaction.commands()));
        self.compose(reply, &[], &[], &begun, now);
        while !transaction.is_parsed() {
            let (scratch, mut parts) = (Scratch::default(), Vec::new());
            let limits = self.limits;
            self.session.replay(&mut transaction, &scratch, now, &limits, &mut parts, self.parts_max);
            for part in parts {
                self.execute(&part.work, part.reply, part.echo, store, now);
            }
        }
        self.compose(reply, &[], &[], &Answer::Exec(Exec::Ended), now);
    }

    fn end_value(
        &mut self,
        options: Option<(torc_engine::command::WriteMode, torc_engine::command::Expiry, bool)>,
        reply: ReplyKind,
        echo: &[u8],
        store: &mut impl Store,
        now: Millis,
    ) {
        let mut upload = self.upload.take().expect("a value has begun");
        if let (Some((mode, expiry, want_old)), Op::Write(write)) = (options, &mut upload.op) {
            *write = Write { mode, expiry, want_old, ..*write };
        }
        let outcome = match upload.id {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(id) => {
                match &mut upload.op {
                    Op::Write(write) => write.value = Body::Upload(id),
                    Op::SetRange { value, .. } => *value = Body::Upload(id),
                    _ => unreachable!("a value has begun for no other"),
                }
                store.execute(&Command { database: 0, key: &upload.key, op: upload.op }, now)
            }
        };
        self.compose(reply, &upload.key, echo, &Answer::Outcome(outcome), now);
    }

    fn compose(&mut self, reply: ReplyKind, key: &[u8], echo: &[u8], answer: &Answer<'_>, now: Millis) {
        let context = ComposeContext {
            now,
            server: &View,
            connection: 7,
            peer: "127.0.0.1:5",
            local: "127.0.0.1:7171",
        };
        self.session.compose(reply, key, echo, answer, &context, &mut self.output);
    }

    fn sent(&mut self, store: &mut impl Store) -> Vec<u8> {
        let mut sent = Vec::new();
        while let Some(piece) = self.output.take(Vec::new) {
            match piece {
                Piece::Bytes(bytes) => sent.extend_from_slice(&bytes),
                Piece::Lent(lent) => {
                    lent.bytes().append_to(&mut sent);
                    store.release(lent);
                }
            }
        }
        sent
    }
}

/// A server of one shard, started one second after the epoch.
pub struct View;

impl ServerView for View {
    fn slot_ranges(&self) -> Vec<(std::ops::RangeInclusive<u16>, u16)> {
        vec![(0..=16383, 0)]
    }
    fn slot_epoch(&self) -> u64 {
        1
    }
    fn shard_address(&self, shard: u16) -> (String, u16) {
        ("127.0.0.1".into(), 7200 + shard)
    }
    fn shard_count(&self) -> u16 {
        1
    }
    fn shard(&self) -> u16 {
        0
    }
    fn node_id(&self, shard: u16) -> String {
        format!("{shard:040x}")
    }
    fn items(&self) -> u64 {
        3
    }
    fn figure(&self, name: &str) -> u64 {
        if name == "keys" { self.items() } else { name.len() as u64 }
    }
    fn own_figure(&self, name: &str) -> u64 {
        1000 + name.len() as u64
    }
    fn figure_since_reset(&self, name: &str) -> u64 {
        name.len() as u64
    }
    fn own_figure_since_reset(&self, name: &str) -> u64 {
        self.own_figure(name)
    }
    fn reset_figures(&self, _names: &[&'static str]) {}
    fn started_at(&self) -> Millis {
        1000
    }
    fn boot_id(&self) -> u64 {
        42
    }
    fn transport(&self) -> &'static str {
        "test"
    }

    fn shared_memory_path(&self) -> Option<String> {
        Some("/run/torc.sock".into())
    }
}

/// Bytes for a message.
pub fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 600 { format!("{}... ({} bytes)", &text[..600], bytes.len()) } else { text }
}
