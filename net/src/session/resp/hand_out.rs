//! Commands of several keys are handed out as many keys at a time as there is room for.
//!
//! What is wrong with a request is found before its first key is handed out. A request of which keys are left stays in
//! the input, and the places of its arguments stay in the session, so that it is not read again.

use super::call::{Call, part};
use super::reply_kind::{Kind, Position};
use super::row::{Row, Run};
use super::stream::State;
use super::turn::Turn;
use super::{Progress, Session};
use crate::session::messages::{About, Channels};
use crate::session::part::{Part, Work};

/// A request at the start of the input of which some keys are handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Several {
    row: &'static Row,
    bytes: usize,
    keys_done: usize,
}

impl Session {
    /// Appends the parts of a command's keys behind the first `done`, as far as there is room. Says how many bytes are
    /// worked off: none before the last key.
    pub(super) fn hand_out<'a>(
        &mut self,
        call: &Call<'_, 'a>,
        done: usize,
        turn: &mut Turn<'_, 'a>,
    ) -> usize {
        self.state = State::Request;
        let arguments = call.row.handed_out();
        let count = arguments.of(call.len()).len();
        for (number, index) in (done..).zip(arguments.behind(done, call.len())) {
            if turn.parts.len() >= turn.parts_max {
                let (row, bytes) = (call.row, call.frame.len());
                self.state = State::Several(Several { row, bytes, keys_done: number });
                return 0;
            }
            match call.row.run {
                Run::Keys(_, append) => append(call, index, Position::of(number, count), turn.parts),
                Run::Listens { begins, of } => turn.parts.push(listens(begins, of, call.argument(index))),
                _ => {}
            }
        }
        call.frame.len()
    }

    /// Goes on with a request that is offered again.
    pub(super) fn go_on<'a>(
        &mut self,
        several: Several,
        rest: &'a [u8],
        turn: &mut Turn<'_, 'a>,
    ) -> Progress {
        let Some(frame) = rest.get(..several.bytes) else {
            return Progress::Missing(several.bytes - rest.len());
        };
        let arguments = std::mem::take(&mut self.arguments);
        let call = turn.call(several.row, frame, &arguments);
        let consumed = self.hand_out(&call, several.keys_done, turn);
        self.put_back(arguments);
        Progress::Consumed(consumed)
    }
}

fn listens(begins: bool, of: Channels, name: &[u8]) -> Part<'_> {
    let about = if begins { About::Subscribe(of) } else { About::Unsubscribe(of) };
    part(Work::Messages { about, name: &[], message: &[] }, Kind::Subscription { begins, of }, name)
}
