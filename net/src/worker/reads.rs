//! Clients that read this shard by RDMA ask what they may read, and until when.

use super::connection::Connection;
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::rdma::Asker;
use crate::session::{Answer, PairRefusal, Part};
use torc_proto::native::ReadsAsked;

impl WorkerState {
    /// Tells the time of leases, and has what was made of a device dropped that is given up.
    pub(super) fn follow_readers(&mut self) {
        if let Some(readers) = &mut self.readers {
            self.shard.pass_read_leases(self.ticks);
            readers.follow(&mut self.shard);
        }
    }

    #[cold]
    pub(super) fn give_reads(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        asked: &[u8],
        read_ns: u64,
    ) -> bool {
        let given = match (&mut self.readers, ReadsAsked::parse(asked)) {
            (None, _) => Err(PairRefusal::Off),
            (_, Err(_)) => Err(PairRefusal::Peer),
            (Some(_), Ok(asked)) if asked.pair.is_some() && !conn.pairings.admit(self.ticks) => {
                Err(PairRefusal::TooOften)
            }
            (Some(readers), Ok(asked)) => {
                let asker = Asker { conn: conn.number, client: conn.session.identity() };
                // The turn began after the request had come, so no earlier than it was sent.
                let given = readers.give(asker, &asked, &mut self.shard, self.ticks, self.turn.began_ns);
                if asked.pair.is_some() {
                    conn.pairings.made(&given, self.ticks);
                }
                given
            }
        };
        let mut value = Vec::new();
        let answer = match &given {
            Ok(given) => {
                given.compose(&mut value);
                self.stats.request(CommandClass::Local, OutcomeClass::Done);
                Answer::Reads(Ok(&value))
            }
            Err(why) => {
                self.stats.request(CommandClass::Local, OutcomeClass::Refused);
                self.stats.pair_refused(*why);
                Answer::Reads(Err(*why))
            }
        };
        self.finish(conn, part, &[], read_ns, answer);
        true
    }
}
