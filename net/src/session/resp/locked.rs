//! Clients that have to give a password first: AUTH, HELLO with AUTH, and what may be said without one.
//!
//! As in Redis a command that does not exist, or has a wrong number of arguments, is told so before anything else; QUIT and RESET are
//! taken. Arguments are bounded as there: 10 of them, of 16 KiB; all of a request by less than that.

use super::call::{Call, part};
use super::connection::Hello;
use super::error::Error;
use super::reply_kind::Kind;
use super::stream::State;
use super::table::row_of;
use super::turn::Turn;
use super::{Progress, Session};
use crate::session::calls::{Fate, NO_COMMAND};
use crate::session::locked::{self, REQUEST_BYTES_MAX};
use crate::session::part::Work;
use crate::users::DEFAULT_USER;
use torc_proto::resp::ProtocolError;
use torc_proto::resp::compose::Version;
use torc_proto::resp::request::{self, Arguments, Step};

/// Most arguments of a request.
const ARGUMENTS_MAX: usize = 10;

impl Session {
    /// The request at the start of `rest`, of a client that has given no password.
    pub(super) fn locked<'a>(&mut self, rest: &'a [u8], refused: u8, turn: &mut Turn<'_, 'a>) -> Progress {
        let mut arguments = Arguments::default();
        let too_long = Error::LockedBulk;
        match request::parse(rest, ARGUMENTS_MAX, &mut arguments) {
            Step::Empty { consumed } => Progress::Consumed(consumed),
            Step::Complete { consumed } if consumed > REQUEST_BYTES_MAX => {
                self.close(too_long, rest.len(), turn)
            }
            Step::Complete { consumed } => {
                self.locked_request(&rest[..consumed], &arguments, refused, turn);
                Progress::Consumed(consumed)
            }
            Step::Incomplete { missing } if rest.len().saturating_add(missing) > REQUEST_BYTES_MAX => {
                self.close(too_long, rest.len(), turn)
            }
            Step::Incomplete { missing } => Progress::Missing(missing),
            Step::Invalid(ProtocolError::TooManyArguments) => {
                self.close(Error::LockedCount, rest.len(), turn)
            }
            Step::Invalid(error) => self.close(Error::Protocol(error), rest.len(), turn),
        }
    }

    fn locked_request<'a>(
        &mut self,
        frame: &'a [u8],
        arguments: &Arguments,
        mut refused: u8,
        turn: &mut Turn<'_, 'a>,
    ) {
        let before = turn.parts.len();
        self.command = NO_COMMAND;
        match row_of(frame, arguments) {
            None => turn.error(Error::UnknownCommand, frame),
            Some((index, row)) if !row.takes(arguments.spans.len()) => {
                turn.scratch.count(index as u8, Fate::Rejected);
                turn.error(Error::WrongArguments(row.name), frame);
            }
            Some((index, row)) if row.flags.contains(&"no_auth") => {
                self.run(index, row, frame, arguments, turn);
            }
            Some((index, _)) => {
                turn.scratch.count(index as u8, Fate::Rejected);
                turn.error(Error::NoAuth, frame);
            }
        }
        let goes_on = locked::count(&mut refused);
        match self.state {
            State::Locked { .. } if !goes_on => {
                turn.parts.truncate(before);
                self.close(Error::NoAuth, frame.len(), turn);
            }
            State::Locked { .. } => self.state = State::Locked { refused },
            _ => {}
        }
    }

    /// Lets the worker see what a client proves itself by, if its request does that. Nothing behind it is looked at before.
    pub(super) fn enter<'a>(&mut self, index: usize, call: &Call<'_, 'a>, turn: &mut Turn<'_, 'a>) -> bool {
        if !call.limits.has_password {
            return false;
        }
        let Some(([user, password], version)) = credentials(call) else { return false };
        let refused = if let State::Locked { refused } = self.state { Some(refused) } else { None };
        let version = version.unwrap_or(self.version);
        // The table has fewer than 256 rows.
        turn.parts.push(part(Work::Enter { user, password }, Kind::Entered(index as u8), call.frame));
        self.state = State::Entering { version, refused };
        true
    }

    /// See [`crate::session::Session::entered`].
    pub fn entered(&mut self, is_through: bool) {
        let State::Entering { version, refused } = self.state else { return };
        self.state = match refused.filter(|_| !is_through) {
            Some(refused) => State::Locked { refused },
            None => self.idle(),
        };
        if is_through {
            self.version = version;
        }
    }

    pub fn is_locked(&self) -> bool {
        matches!(self.state, State::Locked { .. } | State::Entering { refused: Some(_), .. })
    }
}

/// User and password of a request that is right as a whole, and the version that it chooses.
fn credentials<'a>(call: &Call<'_, 'a>) -> Option<([&'a [u8]; 2], Option<Version>)> {
    match (call.row.name, call.len()) {
        ("auth", 2) => Some(([DEFAULT_USER.as_bytes(), call.argument(1)], None)),
        ("auth", 3) => Some(([call.argument(1), call.argument(2)], None)),
        ("hello", 5..) => {
            let words: Vec<&[u8]> = call.arguments_from(0).collect();
            let hello = Hello::of(&words).ok()?;
            hello.credentials.map(|(user, password)| ([user, password], hello.version))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::parsing::Limits;
    use crate::session::part::ReplyKind;
    use crate::session::scratch::Scratch;

    #[test]
    fn what_is_refused_is_no_part_of_the_command_before() {
        let mut session = Session::default().lock();
        let (scratch, mut parts) = (Scratch::default(), Vec::new());
        let limits = Limits {
            key_bytes_max: 250,
            value_bytes_max: 1000,
            value_bytes_inline: 1000,
            frame_bytes_max: 1000,
            arguments_max: 10,
            databases: 1,
            makes_durable: false,
            debug_commands: false,
            has_password: true,
        };
        let input = b"*1\r\n$4\r\nQUIT\r\n";
        let refused = b"*1\r\n$5\r\nRESET\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$2\r\nNO\r\n";
        let input = [&refused[..], input].concat();
        session.parse(&input, &scratch, 0, &limits, &mut parts, 64);
        let named: Vec<bool> = parts
            .iter()
            .filter(
                |part| matches!(part.reply, ReplyKind::Resp(reply) if matches!(reply.kind, Kind::Error(_))),
            )
            .map(|part| matches!(part.reply, ReplyKind::Resp(reply) if reply.command != NO_COMMAND))
            .collect();
        assert_eq!(named, [false, false]);
    }
}
