//! Commands that scripts call: parsed and answered by a session of their own.

use super::call::{Call, part};
use super::error::Error;
use super::facts;
use super::numbers;
use super::reply::Composer;
use super::reply_kind::Kind;
use super::row::{Row, Run, ScriptKind, takes};
use super::scripting::FIRST_KEY;
use super::stream::State;
use super::subcommands::subcommands;
use super::table::row_of;
use super::turn::Turn;
use super::{Progress, Session};
use crate::session::calls::Fate;
use crate::session::parsing::Limits;
use crate::session::part::{Part, Script, Work};
use crate::session::protocol::Port;
use crate::session::scratch::Scratch;
use torc_engine::command::Millis;
use torc_engine::words;
use torc_proto::resp::Arguments;
use torc_proto::resp::compose::Version;
use torc_proto::resp::request::{self, Step};
use torc_proto::slot::slot_of;

/// Why a command is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCalled {
    Unknown,
    Arguments,
    /// It is not for scripts.
    Forbidden,
    /// It may change something, which the script may not.
    Changes,
}

impl NotCalled {
    /// The words of the answer.
    pub(crate) fn words(self) -> &'static [u8] {
        match self {
            NotCalled::Unknown => b"ERR Unknown Redis command called from script",
            NotCalled::Arguments => b"ERR Wrong number of args calling Redis command from script",
            NotCalled::Forbidden => b"ERR This Redis command is not allowed from script",
            NotCalled::Changes => b"ERR Write commands are not allowed from read-only scripts.",
        }
    }
}

impl Session {
    /// Begins anew for a script of a client that has chosen this database.
    pub(crate) fn begin_script(&mut self, port: Port, database: u16) {
        (self.port, self.database, self.no_touch, self.state) = (port, database, false, State::Request);
        self.composer = Composer::new(port);
    }

    /// Which version of RESP answers have from here on.
    pub(crate) fn set_version(&mut self, resp3: bool) {
        self.composer.set_version(if resp3 { Version::Resp3 } else { Version::Resp2 });
    }

    /// Appends all parts of a command that a script calls. Says whether it only reads.
    ///
    /// # Errors
    /// [`NotCalled`].
    pub(crate) fn parse_call<'a>(
        &mut self,
        frame: &'a [u8],
        scratch: &'a Scratch,
        (now, limits): (Millis, &Limits),
        parts: &mut Vec<Part<'a>>,
        may_change: bool,
    ) -> Result<bool, NotCalled> {
        let mut arguments = std::mem::take(&mut self.arguments);
        let found = match request::parse(frame, usize::MAX / 16, &mut arguments) {
            Step::Complete { .. } => row_of(frame, &arguments).ok_or(NotCalled::Unknown),
            _ => Err(NotCalled::Unknown),
        };
        let checked = found.and_then(|(index, row)| match check(row, frame, &arguments, may_change) {
            Ok(()) => Ok((index, row)),
            Err(why) => {
                let word = arguments.spans.get(1).map(|word| word.of(frame)).unwrap_or_default();
                let is_whole = row.takes(arguments.spans.len());
                let number = if is_whole { numbers::number_of(index, word) } else { index as u8 };
                scratch.count(number, Fate::Rejected);
                Err(why)
            }
        });
        let result = checked.map(|(index, row)| {
            let mut turn = Turn::new(scratch, now, limits, parts, usize::MAX);
            let mut consumed = self.run(index, row, frame, &arguments, &mut turn);
            self.name(turn.parts);
            while consumed < frame.len()
                && let Progress::Consumed(more) = self.step(&frame[consumed..], false, &mut turn)
            {
                consumed += more;
            }
            self.set_database(&mut turn);
            row.flags.contains(&"readonly")
        });
        self.put_back(arguments);
        result
    }
}

fn check(row: &Row, frame: &[u8], arguments: &Arguments, may_change: bool) -> Result<(), NotCalled> {
    if !row.takes(arguments.spans.len()) {
        return Err(NotCalled::Arguments);
    }
    if row.flags.contains(&"noscript") || matches!(row.run, Run::Script(_) | Run::Queue(_) | Run::Quit) {
        return Err(NotCalled::Forbidden);
    }
    if let ([_, ..], Some(word)) = (subcommands(row.name), arguments.spans.get(1)) {
        let name = format!("{}|{}", row.name, String::from_utf8_lossy(word.of(frame)).to_lowercase());
        let facts = facts::of(&name).ok_or(NotCalled::Unknown)?;
        if !takes(facts.arity, arguments.spans.len()) {
            return Err(NotCalled::Arguments);
        }
        if facts.flags.contains(&"noscript") {
            return Err(NotCalled::Forbidden);
        }
    }
    if !may_change && row.flags.contains(&"write") {
        return Err(NotCalled::Changes);
    }
    Ok(())
}

impl Session {
    /// Appends the part of a script.
    pub(super) fn script<'a>(
        &self,
        call: &Call<'_, 'a>,
        kind: ScriptKind,
        turn: &mut Turn<'_, 'a>,
    ) -> Result<(), Error> {
        let told = call.integer(2)?;
        if told > (call.len() - FIRST_KEY) as i64 {
            return Err(Error::TooManyScriptKeys);
        }
        let keys = u32::try_from(told).map_err(|_| Error::NegativeScriptKeys)?;
        let places = FIRST_KEY..FIRST_KEY + keys as usize;
        places.clone().try_for_each(|index| call.key(index).map(|_| ()))?;
        if self.port == Port::Shard {
            let mut slots = places.map(|index| slot_of(call.argument(index)));
            let first = slots.next();
            if slots.any(|slot| Some(slot) != first) {
                return Err(Error::CrossSlot);
            }
        }
        let mut all = Vec::new();
        for word in std::iter::once(call.argument(1)).chain(call.arguments_from(FIRST_KEY)) {
            words::begin(word.len() as u32, &mut all);
            all.extend_from_slice(word);
        }
        let script = Script { by_digits: kind.by_digits, read_only: kind.read_only, keys };
        let work = Work::Script { script, database: self.database, words: turn.scratch.keep(&all) };
        turn.parts.push(part(work, Kind::Script, &[]));
        Ok(())
    }
}
