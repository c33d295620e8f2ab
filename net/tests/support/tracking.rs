//! What one client alone is told of the keys that it keeps copies of: all changes are its own.

use std::collections::HashSet;
use torc_engine::command::{Command, Outcome};
use torc_engine::words;
use torc_net::session::{NotTold, NotTracked, Output, Push, Session, Tracked, Tracking, Wanted, Which};

/// The number of the client.
const OWN: u64 = 7;
const PREFIXES_MAX: usize = 100;

#[derive(Default)]
pub struct Tracker {
    wanted: Option<Wanted>,
    read: HashSet<(u16, Vec<u8>)>,
}

impl Tracker {
    pub fn ask(&mut self, asked: Tracking, prefixes: &[u8]) -> (Result<Tracked, NotTracked>, Vec<u8>) {
        match (self.do_asked(asked, prefixes), &self.wanted) {
            (Err((why, words)), _) => (Err(why), words),
            (Ok(()), None) => (Ok(Tracked::default()), Vec::new()),
            (Ok(()), Some(wanted)) => (Ok(wanted.tracked(false)), wanted.prefix_words()),
        }
    }

    fn do_asked(&mut self, asked: Tracking, prefixes: &[u8]) -> Result<(), NotTold> {
        match asked {
            Tracking::Begin(mode) if ![0, OWN].contains(&mode.redirect) => {
                return Err((NotTracked::NoClient, Vec::new()));
            }
            Tracking::Begin(mode) => {
                self.wanted = Some(Wanted::begin(self.wanted.as_ref(), mode, prefixes, PREFIXES_MAX)?);
            }
            Tracking::End => self.wanted = None,
            Tracking::Caching(yes) => {
                let wanted = self.wanted.as_mut().ok_or((NotTracked::NotCaching, Vec::new()))?;
                wanted.cache(yes).map_err(|why| (why, Vec::new()))?;
            }
            Tracking::CachingOver => self.wanted.iter_mut().for_each(|wanted| wanted.caching = false),
            Tracking::Look => {}
        }
        Ok(())
    }

    /// Whether a command has changed its key.
    pub fn changes(command: &Command<'_>, outcome: &Outcome<'_>) -> bool {
        command.op.changes()
            && !matches!(
                outcome,
                Outcome::Miss | Outcome::NotStored { .. } | Outcome::Untouched | Outcome::Refused(_)
            )
    }

    /// A command was executed and answered.
    pub fn executed(
        &mut self,
        command: &Command<'_>,
        has_changed: bool,
        session: &mut Session,
        output: &mut Output,
    ) {
        let item = (command.database, command.key.to_vec());
        let Some(wanted) = &self.wanted else {
            self.read.remove(&item);
            return;
        };
        if !command.op.changes() && wanted.reads() {
            self.read.insert(item);
        } else if has_changed {
            let is_told = match wanted.mode.which {
                Which::Prefixes => wanted.prefixes.iter().any(|prefix| command.key.starts_with(prefix)),
                _ => self.read.remove(&item),
            };
            if is_told && !wanted.mode.no_loop {
                self.tell(&[command.key], session, output);
            }
        }
    }

    pub fn flushed(&mut self, session: &mut Session, output: &mut Output) {
        self.read.clear();
        if self.wanted.is_some() {
            self.tell(&[], session, output);
        }
    }

    fn tell(&self, keys: &[&[u8]], session: &mut Session, output: &mut Output) {
        let mut list = Vec::new();
        for key in keys {
            words::begin(key.len() as u32, &mut list);
            list.extend_from_slice(key);
        }
        let redirected = self.wanted.as_ref().is_some_and(|wanted| wanted.mode.redirect != 0);
        if session.takes_pushes() {
            session.push(Push::keys(&list, redirected), output);
        }
    }
}
