//! What a whole request comes to.

use super::call::{self, Call, part};
use super::error::Error;
use super::lengths::{exceeds, long_value, pairs_bytes_max};
use super::reply_kind::Kind;
use super::row::{JointRead, Origin, Queueing, Row, Run, Values};
use super::stream::State;
use super::table::row_of;
use super::turn::Turn;
use super::{
    Guarded, NO_COMMAND, Session, clients, joint, messages, monitor, numbers, several, strings, tracking,
};
use crate::session::calls::Fate;
use crate::session::messages::Channels;
use crate::session::part::Work;
use crate::session::protocol::Port;
use torc_proto::resp::request::Arguments;

impl Session {
    /// Works a whole request off, and says how many of its bytes: less than all if it has a long value.
    pub(super) fn dispatch<'a>(
        &mut self,
        frame: &'a [u8],
        arguments: &Arguments,
        turn: &mut Turn<'_, 'a>,
    ) -> usize {
        let consumed = frame.len();
        self.command = NO_COMMAND;
        let row = row_of(frame, arguments);
        if exceeds(row.map(|(_, row)| row), arguments, consumed, consumed, turn.limits) {
            self.close(Error::FrameTooLong, consumed, turn);
            return consumed;
        }
        let Some((index, row)) = row else {
            turn.error(Error::UnknownCommand, frame);
            return consumed;
        };
        if !row.takes(arguments.spans.len()) {
            turn.scratch.count(index as u8, Fate::Rejected);
            self.refuse_arguments(row, frame, turn);
            return consumed;
        }
        if self.guarded {
            match self.guard(row, frame, arguments, turn) {
                Guarded::Passes => {}
                Guarded::Waits => return 0,
                Guarded::Answered => {
                    let word = arguments.spans.get(1).map_or(&b""[..], |span| span.of(frame));
                    turn.scratch.count(numbers::number_of(index, word), Fate::Rejected);
                    return consumed;
                }
            }
            self.pass_caching(row, turn);
        }
        if row.values == Values::Pairs && consumed > pairs_bytes_max(turn.limits) {
            turn.error(Error::PairsTooLong, frame);
            return consumed;
        }
        if let Some(place) = long_value(row, arguments, turn.limits) {
            self.begin((index, row), frame, arguments, place, turn);
            return place.start;
        }
        self.run(index, row, frame, arguments, turn)
    }

    /// Works off a request that needs no streaming, and says how many of its bytes.
    pub(super) fn run<'a>(
        &mut self,
        index: usize,
        row: &'static Row,
        frame: &'a [u8],
        arguments: &Arguments,
        turn: &mut Turn<'_, 'a>,
    ) -> usize {
        let call = turn.call(row, frame, arguments);
        // All numbers are below 256.
        let row_number = index as u8;
        self.command = numbers::number_of(index, call.argument(1));
        if !numbers::takes(self.command, arguments.spans.len()) {
            turn.scratch.count(self.command, Fate::Rejected);
            turn.error(Error::WrongArguments(numbers::command_name(self.command.into())), frame);
            return frame.len();
        }
        if self.port == Port::Shard && !call.has_one_slot() {
            turn.scratch.count(self.command, Fate::Rejected);
            turn.error(Error::CrossSlot, frame);
            return frame.len();
        }
        turn.scratch.count(self.command, Fate::Called);
        if turn.scratch.is_noting() {
            self.note(&call);
        }
        let result = match (row.run, row.values) {
            (Run::Parts(parts), _) => parts(&call, turn.parts),
            (Run::Keys(check, _), _) => match check(&call) {
                Ok(()) => return self.hand_out(&call, 0, turn),
                Err(error) => Err(error),
            },
            (Run::Listens { begins: true, of: Channels::Sharded }, _) if turn.is_replay => {
                Err(Error::SsubscribeInMulti)
            }
            (Run::Listens { of, .. }, _) => match several::check(&call) {
                Ok(()) if call.len() > 1 => {
                    self.unsettle();
                    return self.hand_out(&call, 0, turn);
                }
                Ok(()) => {
                    self.unsettle();
                    turn.parts.push(messages::unsubscribe_all(of));
                    Ok(())
                }
                Err(error) => Err(error),
            },
            (Run::Store(storage), Values::Streamed(value)) => {
                storage(&call).and_then(|storage| strings::store_one(&call, turn.parts, storage, value))
            }
            (Run::Quit, _) => {
                turn.parts.push(part(Work::Close, Kind::Ok, &[]));
                self.state = State::Closed;
                Ok(())
            }
            (Run::Joint(read, kind), _) => self.joint(&call, (read, kind), turn),
            (Run::Script(script), _) => self.script(&call, script, turn),
            (Run::Queue(step), _) => match step {
                Queueing::Begin => self.begin_queue(turn),
                Queueing::Run => self.end_queue(turn),
                Queueing::Drop => self.drop_queue(turn),
            },
            (Run::Mixed(parts, _), _) => {
                if let Some(no_touch) = clients::touch(&call) {
                    self.set_database(turn);
                    (self.no_touch, turn.from) = (no_touch, turn.parts.len());
                }
                if tracking::is_caching(&call) {
                    self.begin_caching(turn);
                }
                parts(&call, turn.parts).map(|begun| {
                    if !begun {
                        turn.parts.push(call::local(Kind::Local(row_number), frame));
                    }
                })
            }
            (Run::Chooses(_), _) => {
                self.choose(&call, turn);
                turn.parts.push(call::local(Kind::Local(row_number), frame));
                Ok(())
            }
            (Run::Enters(_), _) if self.enter(index, &call, turn) => Ok(()),
            (Run::Enters(_), _) => {
                self.choose_version(&call);
                turn.parts.push(call::local(Kind::Local(row_number), frame));
                Ok(())
            }
            _ => {
                turn.parts.push(call::local(Kind::Local(row_number), frame));
                Ok(())
            }
        };
        if let Err(error) = result {
            turn.scratch.count(self.command, Fate::Failed);
            turn.error(error, frame);
        }
        frame.len()
    }

    fn joint<'a>(
        &self,
        call: &Call<'_, 'a>,
        (read, kind): (JointRead, Kind),
        turn: &mut Turn<'_, 'a>,
    ) -> Result<(), Error> {
        let database = self.database;
        let joint = read(call, Origin { port: self.port, database })?;
        let words = turn.scratch.keep(&joint::words_of(call, joint));
        turn.parts.push(part(Work::Joint { joint, database, words }, kind, &[]));
        Ok(())
    }

    /// Notes a request for those who monitor the server.
    #[cold]
    pub(super) fn note(&self, call: &Call<'_, '_>) {
        if monitor::is_shown(call.row, (call.len() > 1).then(|| call.argument(1))) {
            call.scratch
                .note(self.database, |out| monitor::show(call.frame, call.spans, call.is_escaped, out));
        }
    }
}
