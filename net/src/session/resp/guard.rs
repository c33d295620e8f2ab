//! Who may ask what while it is subscribed.
//!
//! In RESP2 a client that is subscribed to anything may only change that, and its PING is answered otherwise. What it is subscribed
//! to is known when its request is executed, which is later than it is parsed: so nothing that depends on it is parsed as long as
//! a change of it is not executed ([`Session::settle`]).

use super::call::{Call, local};
use super::connection::Hello;
use super::error::Error;
use super::facts;
use super::reply_kind::Kind;
use super::row::{Row, Run};
use super::turn::Turn;
use super::{Caching, Guarded, Session};
use crate::session::messages::Subscribed;
use torc_proto::resp::Arguments;
use torc_proto::resp::compose::Version;

impl Session {
    /// What was parsed before is executed: the worker parses nothing else of a connection before that.
    pub(super) fn settle(&mut self) {
        self.unsettled = false;
        self.guarded = self.is_subscribed || self.caching != Caching::Not;
    }

    /// See [`crate::session::Session::has_subscribed`].
    pub fn has_subscribed(&mut self, to: Subscribed) {
        self.is_subscribed = to.total() > 0;
        self.guarded |= self.is_subscribed;
        self.composer.has_subscribed(to);
    }

    /// A change of subscriptions is handed out.
    pub(super) fn unsettle(&mut self) {
        (self.unsettled, self.guarded) = (true, true);
    }

    /// Looks at a request whose number of arguments is right.
    #[cold]
    pub(super) fn guard<'a>(
        &mut self,
        row: &'static Row,
        frame: &'a [u8],
        arguments: &Arguments,
        turn: &mut Turn<'_, 'a>,
    ) -> Guarded {
        if !self.is_subscribed && !self.unsettled {
            return Guarded::Passes;
        }
        let is_ping = row.name == "ping";
        // What was queued was accepted before, but its PING is answered by what the client is subscribed to when it is run.
        let is_free = matches!(row.run, Run::Listens { .. } | Run::Quit)
            || row.name == "reset"
            || turn.is_replay && !is_ping;
        let call = turn.call(row, frame, arguments);
        let is_wrong = (is_ping && call.len() > 2)
            || (call.len() > 1 && facts::check_subcommand(row.name, call.argument(1), call.len()).is_err());
        if self.version == Version::Resp3 || is_free || is_wrong {
            return Guarded::Passes;
        }
        if self.unsettled {
            // The caller offers it again when all before it is executed.
            turn.parts_max = turn.parts.len();
            return Guarded::Waits;
        }
        if is_ping {
            let echo = call.argument(1);
            turn.parts.push(local(Kind::PongAmongMessages, echo));
        } else {
            turn.error(Error::AmongMessages(row.name), frame);
        }
        Guarded::Answered
    }

    /// What comes behind a HELLO is said in the version that it chooses, if that is accepted.
    pub(super) fn choose_version(&mut self, call: &Call<'_, '_>) {
        let words: Vec<&[u8]> = call.arguments_from(0).collect();
        if let Ok(hello) = Hello::of(&words)
            && hello.is_accepted(self.is_locked())
        {
            self.version = hello.version.unwrap_or(self.version);
        }
    }
}
