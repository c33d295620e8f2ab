//! Which connections a round parses: those that are ready, in their order, each for its share of the turn.

use crate::transport::ConnId;
use std::collections::VecDeque;

/// Connections parsed in one round.
pub(super) const ROUND_CONNECTIONS: usize = 64;
/// Places of a round for connections that wait with input of earlier rounds, as long as others want places, too.
pub(super) const ROUND_READY: usize = ROUND_CONNECTIONS / 2;
/// Parts of one connection in a round, and in a turn; what is behind them waits for its next turn.
pub(super) const CONNECTION_PARTS: usize = 64;
pub(super) const TURN_CONNECTION_PARTS: usize = 256;

/// The rounds of a worker, and the connections that are ready for one.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Counts rounds.
    round: u64,
    /// Counts turns.
    turn: u64,
    now: VecDeque<ConnId>,
    /// Those that had their share of this turn.
    later: VecDeque<ConnId>,
    /// Connections for which there are places at other shards again; kept for its room.
    pub(super) resumed: Vec<ConnId>,
    #[cfg(test)]
    pub(super) bug: super::bug::Bug,
}

/// What the rounds have noted of a connection.
#[derive(Debug, Default)]
pub(crate) struct RoundMarks {
    /// It waits in the queue of [`Rounds`].
    pub(super) ready: bool,
    /// It waits in the line of a lane.
    pub(super) stalled: bool,
    /// The round that parsed it last.
    round: u64,
    /// The turn that parsed it last, and how many parts of it.
    turn: u64,
    parts: usize,
}

impl Rounds {
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
        self.now.append(&mut self.later);
    }

    pub(super) fn begin_round(&mut self) {
        self.round += 1;
    }

    /// Whether no connection is left to be parsed in this turn.
    pub(super) fn is_done(&self) -> bool {
        self.now.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.is_empty() && self.later.is_empty()
    }

    /// Whether this round parses a connection already.
    pub(super) fn has(&self, marks: &RoundMarks) -> bool {
        marks.round == self.round
    }

    /// Takes a connection into this round.
    pub(super) fn take_in(&self, marks: &mut RoundMarks) {
        marks.round = self.round;
    }

    /// The next connection that is ready.
    pub(super) fn next(&mut self) -> Option<ConnId> {
        self.now.pop_front()
    }

    /// Puts a connection behind all others that are ready.
    pub(super) fn push(&mut self, id: ConnId, marks: &mut RoundMarks) {
        #[cfg(test)]
        if self.bug == super::bug::Bug::FirstForEver && marks.turn == self.turn {
            marks.ready = true;
            return self.now.push_front(id);
        }
        let had_its_share = marks.turn == self.turn && marks.parts >= TURN_CONNECTION_PARTS;
        #[cfg(test)]
        let had_its_share = had_its_share && self.bug != super::bug::Bug::EndlessShare;
        marks.ready = true;
        if had_its_share { &mut self.later } else { &mut self.now }.push_back(id);
    }

    /// A connection has been parsed in this turn, into so many parts.
    pub(super) fn parsed(&self, marks: &mut RoundMarks, parts: usize) {
        if marks.turn != self.turn {
            marks.turn = self.turn;
            marks.parts = 0;
        }
        marks.parts += parts;
    }
}

impl RoundMarks {
    /// Parts of the connection in the turn that parsed it last.
    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.parts
    }
}
