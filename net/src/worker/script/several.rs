//! Commands about several keys, as a script calls them: on copies, at once.

use super::known::{Item, Touched};
use super::overlay::{Overlay, item_in};
use crate::session::{IfThere, Joint, Jointly};
use crate::worker::joint::Asked;
use crate::worker::joint::gather::Gathering;
use crate::worker::owned::OwnedAnswer;
use std::time::Instant;
use torc_engine::command::{Command, Delete, Expiry, Meta, Op, Outcome, Read};
use torc_lua::Stop;

impl Overlay<'_> {
    /// A command about several keys: how it ends, and what it has found.
    pub(super) fn join(&mut self, asked: Asked<'_>) -> Result<(OwnedAnswer, Vec<u8>), Stop> {
        let done = match asked.joint {
            Joint::SetIfNone => self.set_all(asked, Some(IfThere::None), Expiry::Never)?,
            Joint::Set { condition, expiry } => self.set_all(asked, condition, expiry)?,
            Joint::Copy { replaces, removes, .. } => self.copy(asked, replaces, removes)?,
            Joint::Combine(_) | Joint::Compare(_) => return self.gather(asked),
        };
        Ok((OwnedAnswer::Jointly(done), Vec::new()))
    }

    fn copy(&mut self, asked: Asked<'_>, replaces: bool, removes: bool) -> Result<Jointly, Stop> {
        let Some((from, to)) = asked.ends() else { return Ok(Jointly::NotDone) };
        let read = Read { uncounted: removes, ..Read::default() };
        let Some(item) = item_in(self.store, from, read, self.now) else { return Ok(Jointly::NoItem) };
        if from == to {
            return Ok(if replaces { Jointly::Done } else { Jointly::NotDone });
        }
        if !replaces && self.item(to).is_some() {
            return Ok(Jointly::NotDone);
        }
        self.give(to, &item)?;
        if removes {
            self.remove(from);
        }
        Ok(Jointly::Done)
    }

    fn remove(&mut self, (database, key): (u16, &[u8])) {
        self.execute(&Command { database, key, op: Op::Delete(Delete::default()) });
        self.known.touch((database, key), Touched::Value);
    }

    /// BITOP and LCS, at once.
    fn gather(&mut self, asked: Asked<'_>) -> Result<(OwnedAnswer, Vec<u8>), Stop> {
        let Some(mut gathering) = Gathering::of(asked) else {
            return Ok((OwnedAnswer::OutcomeUnknown, Vec::new()));
        };
        while let Some(key) = gathering.next_key(asked.words) {
            let read = Op::Read(Read::default());
            let command = Command { database: asked.database, key, op: read };
            let hash = self.store.key_hash(key);
            let found = match self.store.execute(&command, hash, self.now) {
                Outcome::Item(found) => Some(found),
                _ => None,
            };
            if let Err(too_long) = gathering.take(found.as_ref()) {
                return Ok((too_long, Vec::new()));
            }
            while let Some(lent) = gathering.take_lent() {
                self.store.release(lent);
            }
            if self.is_over() {
                return Err(Stop::Time);
            }
        }
        if let Joint::Compare(_) = asked.joint {
            return gathering.compared_at_once(|| self.is_over()).ok_or(Stop::Time);
        }
        let Some(value) = gathering.combined_at_once() else {
            return Ok((OwnedAnswer::OutcomeUnknown, Vec::new()));
        };
        let length = value.len() as u64;
        if let Some(to) = asked.keys().next() {
            match value.is_empty() {
                true => self.remove(to),
                false => self.give(to, &(Meta::default(), value))?,
            }
        }
        Ok((OwnedAnswer::Jointly(Jointly::Length(length)), Vec::new()))
    }

    /// Whether the script has run for as long as it may: commands that take long look at the clock themselves.
    fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }

    fn set_all(
        &mut self,
        asked: Asked<'_>,
        condition: Option<IfThere>,
        expiry: Expiry,
    ) -> Result<Jointly, Stop> {
        let keys: Vec<(u16, &[u8])> = asked.keys().collect();
        let is_wrong = match condition {
            None => false,
            Some(IfThere::None) => keys.iter().any(|key| self.item(*key).is_some()),
            Some(IfThere::All) => keys.iter().any(|key| self.item(*key).is_none()),
        };
        if is_wrong {
            return Ok(Jointly::NotDone);
        }
        for (key, value) in keys.into_iter().zip(asked.values()) {
            let expiry = match expiry {
                Expiry::Never => None,
                Expiry::At(end) => Some(end),
                Expiry::Keep => self.item(key).and_then(|(meta, _)| meta.expiry),
            };
            self.give(key, &(Meta { expiry, ..Meta::default() }, value.to_vec()))?;
        }
        Ok(Jointly::Done)
    }

    fn give(&mut self, key: (u16, &[u8]), item: &Item) -> Result<(), Stop> {
        self.known.touch(key, Touched::Value);
        self.known.come(key);
        Overlay::put(self.store, key, item, self.now).map(|_| ()).ok_or(Stop::Memory)
    }
}
