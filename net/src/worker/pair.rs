//! Connections that go on over RDMA.

use super::attaching::{Attaching, Wants};
use super::connection::Connection;
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::rdma::{Admitted, Watcher};
use crate::session::{Answer, PairRefusal, Part, ReplyKind};
use crate::transport::rdma::CONNECTION_BYTES;
use crate::transport::{NotPaired, Transport};
use torc_proto::native::PairEnd;
use torc_rdma::Refused;

impl WorkerState {
    /// A client asks for a queue pair. It is answered when nothing else is due to it: its socket says nothing more then.
    #[cold]
    pub(super) fn begin_pair(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        client: &[u8],
        read_ns: u64,
    ) -> bool {
        let why = match PairEnd::parse(client) {
            _ if conn.attaching.is_some() || conn.ring_bytes > 0 => PairRefusal::Already,
            Err(_) => PairRefusal::Peer,
            Ok(client) => {
                let wants = Wants::Pair(client);
                conn.attaching = Some(Box::new(Attaching { reply: part.reply, wants, read_ns }));
                return true;
            }
        };
        self.refuse_pair(why);
        self.finish(conn, part, &[], read_ns, Answer::Pair(Err(why)));
        true
    }

    pub(super) fn pair(
        &mut self,
        conn: &mut Connection,
        (reply, client): (ReplyKind, &PairEnd),
        transport: &mut impl Transport,
    ) {
        let made = self.admit_pair(conn).and_then(|admitted| {
            let made = transport.pair(conn.id, client).map_err(|why| self.why_not_paired(conn, why));
            conn.pairings.made(&made, self.ticks);
            made.map(|made| (made, admitted))
        });
        let words = match made {
            Ok(((end, bytes), admitted)) => {
                conn.paired = Some(admitted);
                conn.ring_bytes = bytes;
                self.budget.rings += bytes;
                self.stats.request(CommandClass::Local, OutcomeClass::Done);
                self.compose_attach(conn, reply, &Answer::Pair(Ok(&end)))
            }
            Err(why) => {
                self.refuse_pair(why);
                self.compose_attach(conn, reply, &Answer::Pair(Err(why)))
            }
        };
        conn.output.prepare(|| self.pool.take());
        conn.output.tail().extend_from_slice(&words);
    }

    /// What can be said before the device is asked.
    fn admit_pair(&self, conn: &Connection) -> Result<Admitted, PairRefusal> {
        if !self.shared.rdma.as_ref().is_none_or(Watcher::is_usable) {
            return Err(PairRefusal::Gone);
        }
        if !self.budget.admits_rings(CONNECTION_BYTES) {
            return Err(PairRefusal::Memory);
        }
        if !conn.pairings.admit(self.ticks) {
            return Err(PairRefusal::TooOften);
        }
        let admitted = self.shared.pairs.admit(conn.session.identity(), self.settings.pairs_max);
        admitted.ok_or(PairRefusal::TooMany)
    }

    fn why_not_paired(&self, conn: &Connection, why: NotPaired) -> PairRefusal {
        let told = match why {
            NotPaired::Off => return PairRefusal::Off,
            NotPaired::Gone => return PairRefusal::Gone,
            NotPaired::Already => return PairRefusal::Already,
            NotPaired::Full => return PairRefusal::Full,
            NotPaired::Refused(Refused::Version) => return PairRefusal::Version,
            NotPaired::Refused(Refused::Impossible) => return PairRefusal::Peer,
            NotPaired::Refused(Refused::Verbs(error)) => error.to_string(),
            NotPaired::Failed(error) => error.to_string(),
        };
        tracing::info!(shard = self.number, peer = %conn.peer, "a client got no queue pair: {told}");
        PairRefusal::Device
    }

    fn refuse_pair(&self, why: PairRefusal) {
        self.stats.request(CommandClass::Local, OutcomeClass::Refused);
        self.stats.pair_refused(why);
    }
}
