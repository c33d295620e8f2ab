//! A connection's state machine: bytes in, [`Part`]s out; answers in, bytes out. No socket, no clock.
//!
//! ```text
//!   received bytes --parse--> Parts --(worker: own shard, or another's mailbox)--> Answers --compose--> Output
//! ```
//!
//! A turn of the loop parses everything that arrived first, so parts only point into the receive buffer. A
//! part is answered in the order in which it was parsed. The worker calls `compose` for a part when its
//! answer is there *and* all earlier parts of the connection are composed, so a session may keep state across
//! the parts of one multi-key command (a sum, "was anything found").
//!
//! A part that has to wait (another shard) is kept by the worker as its [`ReplyKind`] (plain data) and copies
//! of `key` and `echo`; nothing else of the request survives the turn.

mod bad_input;
mod deadline;
pub mod detect;
mod free;
pub mod memcache;
pub mod native;
mod output;
mod push;
pub mod resp;
mod scratch;

pub use bad_input::{BAD_INPUTS, BadInput, Errors};
pub use deadline::Deadline;
pub use free::FreeReply;
pub(crate) use output::lent_cost;
pub use output::{Output, Piece};
pub use push::Push;
pub use scratch::Scratch;

use torc_engine::command::{Command, Expiry, Millis, Outcome, Value, WriteMode};

/// One step of a request, in the order of the connection.
#[derive(Debug)]
pub struct Part<'a> {
    pub work: Work<'a>,
    /// How to answer, for [`Session::compose`]: plain data of the session that parsed it.
    pub reply: ReplyKind,
    /// Bytes of the request that the answer repeats (meta flags, opaque ids); copied if the part waits.
    pub echo: &'a [u8],
    /// A native change that must be done once: session identity and number of the change.
    pub once: Option<Once>,
}

/// What the worker does for a part.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// For the shard that owns the key.
    Keyed(Command<'a>),
    /// The head of a value too long to be buffered: `command` is a `Write` or `SetRange` whose body is still empty. `bytes`
    /// of value follow as `ValueData`, then one `ValueEnd` (which gets the answer) or `ValueAbort`.
    ValueBegin {
        command: Command<'a>,
        bytes: u64,
    },
    ValueData(&'a [u8]),
    ValueEnd,
    /// As `ValueEnd`, for a command whose options come behind the value (Redis' SET): they replace those of
    /// the `Write` of `ValueBegin`. It gets the answer.
    ValueEndWith {
        mode: WriteMode,
        expiry: Expiry,
        want_old: bool,
    },
    /// The value ended wrongly (no line end behind it); nothing is stored. The reply kind says what to answer.
    ValueAbort,
    /// Every shard forgets everything, at once or from `at` on.
    Flush {
        at: Option<Millis>,
    },
    /// One step over the keys of one shard; the cursor names the shard.
    Scan {
        cursor: u64,
        count: u32,
    },
    /// Nothing for a shard: `compose` is called with [`Answer::Local`] and `echo` holds the frame.
    Local,
    /// Answer what is due, then close the connection. `compose` is called first, as for `Local`.
    Close,
}

/// Identity of a change that a client may send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Once {
    pub session: u64,
    pub number: u64,
    /// It was sent before: the outcome may be on record.
    pub repeat: bool,
}

/// How an answer is written: data of the session that asked, copied freely.
#[derive(Debug, Clone, Copy)]
pub enum ReplyKind {
    Resp(resp::Reply),
    Memcache(memcache::Reply),
    Native(native::Reply),
    /// Not a protocol of ours: said once, in words its sender may show.
    Refused(detect::Refused),
    /// No answer, but a push that waited behind answers; the echo holds its bytes.
    Push,
}

impl ReplyKind {
    /// Until when the part may be begun. Parsing has looked at it; who lets the part wait looks again.
    #[inline]
    pub fn deadline(&self) -> Deadline {
        match self {
            ReplyKind::Native(reply) => reply.deadline(),
            _ => Deadline::NONE,
        }
    }
}

/// What came of a part.
#[derive(Debug)]
pub enum Answer<'s> {
    Outcome(Outcome<'s>),
    /// The key's slot is served elsewhere (only on a shard's own port, never given to memcached).
    Moved {
        slot: u16,
        shard: u16,
        epoch: u64,
    },
    Flushed,
    /// Keys found, as [`torc_engine::words`]; the next cursor, 0 at the end.
    Scanned {
        cursor: u64,
        keys: &'s [u8],
    },
    /// A limit of this server was met; `limit` is the name of its setting.
    Busy {
        limit: &'static str,
    },
    /// A change repeated after a restart: nobody knows whether it was done.
    OutcomeUnknown,
    /// Not executed: the part's [`ReplyKind::deadline`] was over before.
    DeadlineExceeded,
    Local,
}

impl Answer<'_> {
    /// Whether it has a value that is lent.
    pub fn is_lent(&self) -> bool {
        let found = match self {
            Answer::Outcome(Outcome::Item(found)) => Some(found),
            Answer::Outcome(
                Outcome::Stored { old, .. } | Outcome::NotStored { old } | Outcome::Deleted { old, .. },
            ) => old.as_ref(),
            _ => None,
        };
        found.is_some_and(|found| matches!(found.value, Value::Chained(_)))
    }
}

/// What `parse` came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Bytes of the input that are worked off; the rest is offered again with more behind it.
    pub consumed: usize,
    /// Bytes that the current frame lacks at least, if known (0: unknown). A hint for buffers.
    pub missing: usize,
}

/// The limits that parsing keeps, all settings.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `--max-key`, bytes.
    pub key_bytes_max: usize,
    /// `--max-value`, bytes.
    pub value_bytes_max: u64,
    /// Values longer than this are received in slices (`ValueBegin`), bytes.
    pub value_bytes_inline: usize,
    /// Longest frame without its value (command line, array of arguments), bytes.
    pub frame_bytes_max: usize,
    /// Most keys or arguments in one command.
    pub arguments_max: usize,
}

/// What `compose` may look at beside the answer.
pub struct ComposeContext<'c> {
    pub now: Millis,
    pub server: &'c dyn ServerView,
    /// Identity of this connection, as CLIENT ID gives it.
    pub connection: u64,
    pub peer: &'c str,
    pub local: &'c str,
}

/// What sessions may ask of the server to answer INFO, stats, CLUSTER, HELLO. Never on the path of a GET.
pub trait ServerView {
    /// Slot ranges in order, each with its owner: the slot map.
    fn slot_ranges(&self) -> Vec<(std::ops::RangeInclusive<u16>, u16)>;
    fn slot_epoch(&self) -> u64;
    /// Host and port that clients are told for a shard.
    fn shard_address(&self, shard: u16) -> (String, u16);
    fn shard_count(&self) -> u16;
    /// This shard.
    fn shard(&self) -> u16;
    /// 40 hexadecimal digits, as Redis Cluster names a node.
    fn node_id(&self, shard: u16) -> String;
    /// Sum over the shards.
    fn items(&self) -> u64;
    /// Named figures for INFO and stats, summed over the shards: see `crate::metrics`.
    fn figure(&self, name: &str) -> u64;
    /// As `figure`, of this shard alone.
    fn own_figure(&self, name: &str) -> u64;
    /// As `figure`, counted from the last `reset_figures` that named it.
    fn figure_since_reset(&self, name: &str) -> u64;
    /// Counts these from now on, for the calls since their reset; all other readers see them run on.
    fn reset_figures(&self, names: &[&'static str]);
    fn started_at(&self) -> Millis;
    /// 64 random bits of this start: a client that sees another number knows of a restart.
    fn boot_id(&self) -> u64;
    fn transport(&self) -> &'static str;
}

/// The protocols of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Resp,
    Memcache,
    Native,
}

/// By what kind of port a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// Every key is served there, by whichever shard accepts.
    #[default]
    Common,
    /// A shard's own: to a cluster client, a node that has this shard's slots and no others.
    Shard,
}

/// Names of the protocols, in their order.
pub const PROTOCOLS: [&str; 3] = ["resp", "memcache", "native"];

/// The protocol of one connection and its state. Each variant offers the same two calls.
#[derive(Debug)]
pub enum Session {
    /// The first bytes decide; see [`detect`].
    Undecided(Port),
    Resp(resp::Session),
    Memcache(memcache::Session),
    Native(native::Session),
}

impl Session {
    /// A session that speaks `protocol`, or finds out by the first bytes.
    pub fn new(protocol: Option<Protocol>, port: Port) -> Session {
        match protocol {
            None => Session::Undecided(port),
            Some(Protocol::Resp) => Session::Resp(resp::Session::new(port)),
            Some(Protocol::Memcache) => Session::Memcache(memcache::Session::default()),
            Some(Protocol::Native) => Session::Native(native::Session::default()),
        }
    }

    /// Memory that it holds beside itself.
    pub(crate) fn bytes_held(&self) -> usize {
        match self {
            Session::Resp(session) => session.bytes_held(),
            Session::Undecided(_) | Session::Memcache(_) | Session::Native(_) => 0,
        }
    }

    /// Which protocol is spoken, if that is known.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Session::Undecided(_) => None,
            Session::Resp(_) => Some(Protocol::Resp),
            Session::Memcache(_) => Some(Protocol::Memcache),
            Session::Native(_) => Some(Protocol::Native),
        }
    }

    /// Appends the parts of all complete frames in `input` to `parts`, up to `parts_max` in total; only begin, bytes and end
    /// of one value stay together and may pass it, by two. A command of more keys is handed out over several calls: bytes
    /// that are not consumed are offered again as they are. Never fails: what is wrong with the input becomes a part that
    /// answers so, and a `Close` where the protocol cannot go on. Bytes that a part needs and that are not in `input` as
    /// they are (a key in base64) go to `scratch`.
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        scratch: &'a Scratch,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Parsed {
        if let Session::Undecided(port) = *self {
            match detect::detect(input) {
                detect::Detected::Unclear => return Parsed { consumed: 0, missing: 1 },
                detect::Detected::Protocol(protocol) => *self = Session::new(Some(protocol), port),
                detect::Detected::Refused(reply) => {
                    parts.push(reply.into_part());
                    return Parsed { consumed: input.len(), missing: 0 };
                }
            }
        }
        match self {
            Session::Undecided(_) => unreachable!("decided above"),
            Session::Resp(session) => session.parse(input, scratch, now, limits, parts, parts_max),
            Session::Memcache(session) => session.parse(input, scratch, now, limits, parts, parts_max),
            Session::Native(session) => session.parse(input, now, limits, parts, parts_max),
        }
    }

    /// Whether a command is begun that is handed out over several calls of `parse`, and has more keys.
    pub fn is_within_request(&self) -> bool {
        match self {
            Session::Undecided(_) => false,
            Session::Resp(session) => session.is_within_request(),
            Session::Memcache(session) => session.is_within_request(),
            Session::Native(session) => session.is_within_request(),
        }
    }

    /// Whether [`Session::push`] writes anything now.
    pub fn takes_pushes(&self) -> bool {
        match self {
            Session::Resp(session) => session.takes_pushes(),
            Session::Native(_) => true,
            Session::Undecided(_) | Session::Memcache(_) => false,
        }
    }

    /// Writes a frame that answers no request, behind the answers that are written: behind an answer that is half written
    /// when that is whole. False: the protocol has none.
    pub fn push(&mut self, push: Push<'_>, out: &mut Output) -> bool {
        match self {
            Session::Resp(session) => session.push(push, out),
            Session::Native(session) => session.push(push, out),
            Session::Undecided(_) | Session::Memcache(_) => false,
        }
    }

    /// How an answer is written, if its words depend on no other answer, and those of no other on it: it may be composed before
    /// its turn, beside others of the kind.
    #[inline]
    pub fn free(&self, reply: &ReplyKind) -> Option<FreeReply> {
        match (self, reply) {
            (Session::Resp(session), ReplyKind::Resp(reply)) => session.free(reply).map(FreeReply::Resp),
            (Session::Memcache(session), ReplyKind::Memcache(reply)) => {
                session.free(reply).map(FreeReply::Memcache)
            }
            (Session::Native(_), ReplyKind::Native(reply)) => reply.free().map(FreeReply::Native),
            _ => None,
        }
    }

    /// Writes the answer to one part. `key` is the key of a `Keyed` part or of its `ValueBegin`, else empty.
    pub fn compose(
        &mut self,
        reply: ReplyKind,
        key: &[u8],
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        match (self, reply) {
            (Session::Resp(session), ReplyKind::Resp(reply)) => {
                session.compose(reply, key, echo, answer, context, out)
            }
            (Session::Memcache(session), ReplyKind::Memcache(reply)) => {
                session.compose(reply, key, echo, answer, context, out)
            }
            (Session::Native(session), ReplyKind::Native(reply)) => {
                session.compose(reply, key, echo, answer, context, out)
            }
            (_, ReplyKind::Refused(refused)) => refused.compose(out),
            (session, ReplyKind::Push) => {
                session.push(Push::of_bytes(echo), out);
            }
            _ => unreachable!("a part is answered by the session that parsed it"),
        }
    }
}
