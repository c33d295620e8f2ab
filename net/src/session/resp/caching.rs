//! Which command a CLIENT CACHING is about.

use super::call::part;
use super::reply_kind::Kind;
use super::row::Row;
use super::turn::Turn;
use super::{Caching, Session};
use crate::session::part::Work;
use crate::session::tracking::Tracking;

impl Session {
    /// A CACHING is handed out. In a transaction it is about all that follows there.
    pub(super) fn begin_caching(&mut self, turn: &Turn<'_, '_>) {
        self.caching = if turn.is_replay { Caching::Over } else { Caching::Begun };
        self.guarded = true;
    }

    /// A command that is not queued is about to be handed out.
    #[cold]
    pub(super) fn pass_caching(&mut self, row: &Row, turn: &mut Turn<'_, '_>) {
        match self.caching {
            _ if turn.is_replay => {}
            Caching::Over => {
                self.caching = Caching::Not;
                turn.parts.push(part(
                    Work::Tracking { asked: Tracking::CachingOver, prefixes: &[] },
                    Kind::Silent,
                    &[],
                ));
            }
            Caching::Begun if !matches!(row.name, "client" | "multi") => self.caching = Caching::Over,
            Caching::Not | Caching::Begun => {}
        }
    }
}
