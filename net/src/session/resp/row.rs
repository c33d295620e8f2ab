//! One command, as the table describes it.

use super::call::Call;
use super::client::Client;
use super::error::Error;
use super::local::LocalCall;
use super::reply_kind::{Kind, Position};
use super::storage::Storage;
use crate::session::joint::Joint;
use crate::session::messages::Channels;
use crate::session::part::Part;
use crate::session::protocol::Port;
use torc_proto::resp::parse_i64;

/// One command.
#[derive(Debug)]
pub(super) struct Row {
    /// In lower case.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least as many.
    pub arity: i32,
    /// What COMMAND tells beside is in `facts`.
    pub flags: &'static [&'static str],
    pub keys: Keys,
    pub group: &'static str,
    /// The version of Redis that had it first.
    pub since: &'static str,
    pub summary: &'static str,
    pub values: Values,
    pub run: Run,
}

impl Row {
    /// The numbers of the arguments that are keys, of `count` arguments with the name; `first` is the one behind the name.
    pub(super) fn keys_of(&self, count: usize, first: &[u8]) -> impl ExactSizeIterator<Item = usize> + use<> {
        if self.name != "msetex" {
            return self.keys.of(count);
        }
        // It says how many there are.
        let pairs = parse_i64(first).and_then(|pairs| usize::try_from(pairs).ok()).unwrap_or_default();
        PAIRS_FROM_TWO.of(count.min(pairs.saturating_mul(2).saturating_add(2)))
    }

    /// Whether `count` arguments, the name among them, are as many as the command takes.
    pub(super) fn takes(&self, count: usize) -> bool {
        takes(self.arity, count)
    }
}

/// As [`Row::takes`], by the arity alone.
pub(super) fn takes(arity: i32, count: usize) -> bool {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    (arity >= 0 && count == arity) || (arity < 0 && count >= -arity)
}

/// Where the keys are among the arguments: first, last (negative: from the end), step; zeros for no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    pub first: i32,
    pub last: i32,
    pub step: i32,
}

const PAIRS_FROM_TWO: Keys = Keys { first: 2, last: -1, step: 2 };

impl Keys {
    pub(super) const NONE: Keys = Keys { first: 0, last: 0, step: 0 };

    /// The numbers of the arguments that are keys, of `count` arguments with the name.
    pub(super) fn of(self, count: usize) -> std::iter::StepBy<std::ops::Range<usize>> {
        self.behind(0, count)
    }

    /// As [`Keys::of`], without the first `done` keys.
    pub(super) fn behind(self, done: usize, count: usize) -> std::iter::StepBy<std::ops::Range<usize>> {
        let place = |at: i32| usize::try_from(at).unwrap_or(count.saturating_sub(at.unsigned_abs() as usize));
        // Without keys the step is zero.
        let end = if self.step > 0 { place(self.last) + 1 } else { 0 };
        // The start is computed: each slice of a long request would otherwise walk over all keys before it.
        let step = (self.step as usize).max(1);
        (place(self.first) + done * step..end.min(count)).step_by(step)
    }
}

/// Which arguments may be values, that is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    None,
    /// The argument with this number; received in slices if it is long.
    Streamed(usize),
    /// Every second argument, from the third on; buffered.
    Pairs,
}

impl Row {
    /// The arguments that are handed out one by one: keys, or names of channels.
    pub(super) fn handed_out(&self) -> Keys {
        match self.run {
            Run::Listens { .. } => Keys { first: 1, last: -1, step: 1 },
            _ => self.keys,
        }
    }
}

/// How a command is worked off.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// Appends its parts.
    Parts(for<'r, 'a> fn(&Call<'r, 'a>, &mut Vec<Part<'a>>) -> Result<(), Error>),
    /// Goes from key to key, a few at a time. The first function says what is wrong with the whole; if nothing is, the
    /// second appends the parts of one key, given the number of its argument and its place among the keys.
    Keys(
        for<'r, 'a> fn(&Call<'r, 'a>) -> Result<(), Error>,
        for<'r, 'a> fn(&Call<'r, 'a>, usize, Position, &mut Vec<Part<'a>>),
    ),
    /// A client begins to listen to such channels, or ends it; all arguments are names.
    Listens { begins: bool, of: Channels },
    /// Stores one value: the function reads what stands before the value.
    Store(for<'r, 'a> fn(&Call<'r, 'a>) -> Result<Storage<'a>, Error>),
    /// Needs no shard; run when its answer is composed.
    Local(fn(&mut Client, &LocalCall<'_>, &mut Vec<u8>)),
    /// As `Local`, but some of its subcommands need shards: the first function appends their parts, and says whether this is one.
    Mixed(
        for<'r, 'a> fn(&Call<'r, 'a>, &mut Vec<Part<'a>>) -> Result<bool, Error>,
        fn(&mut Client, &LocalCall<'_>, &mut Vec<u8>),
    ),
    /// As `Local`, but what it names is looked at by the worker, if there are passwords: who the client is.
    Enters(fn(&mut Client, &LocalCall<'_>, &mut Vec<u8>)),
    /// As `Local`, and what comes behind it is about another database.
    Chooses(fn(&mut Client, &LocalCall<'_>, &mut Vec<u8>)),
    /// Is about several keys, and done as one: what is to be done, and how it is answered.
    Joint(JointRead, Kind),
    /// Runs a script.
    Script(ScriptKind),
    /// Begins or ends a queue of commands.
    Queue(Queueing),
    /// Answers `+OK`, then the connection is closed.
    Quit,
}

/// What a command about several keys that is done as one is to do.
pub(super) type JointRead = for<'r, 'a> fn(&Call<'r, 'a>, Origin) -> Result<Joint, Error>;

/// Where a command came from: which port, and which database is chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub port: Port,
    pub database: u16,
}

/// How a command names a script, and what that may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScriptKind {
    /// By the digits of its digest, not by its text.
    pub by_digits: bool,
    /// It may change nothing.
    pub read_only: bool,
}

/// What becomes of a queue of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queueing {
    Begin,
    Run,
    Drop,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Run::Parts(_) => "Parts",
            Run::Keys(..) => "Keys",
            Run::Listens { .. } => "Listens",
            Run::Store(_) => "Store",
            Run::Local(_) => "Local",
            Run::Mixed(..) => "Mixed",
            Run::Enters(_) => "Enters",
            Run::Chooses(_) => "Chooses",
            Run::Joint(..) => "Joint",
            Run::Script(_) => "Script",
            Run::Queue(_) => "Queue",
            Run::Quit => "Quit",
        })
    }
}
