//! Clients of this shard, told of or closed for one of this or another shard, a few at a time.

use super::connection::{Connection, Phase};
use super::state::WorkerState;
use crate::metrics::CloseReason;
use crate::session::OfClients;
use crate::session::memcache::stats;
use crate::session::resp::{ClientFacts, ClientFilter};

/// Places that one step looks at.
const STEP_PLACES: u32 = 256;

impl WorkerState {
    /// Looks at the clients from a place on, except for one that is being worked for. `asker` is the number of the client that asks.
    /// Appends lines about them, or a byte for each that was closed. Returns the next place, 0 at the end.
    pub(super) fn clients(
        &mut self,
        place: u32,
        (of, asker): (OfClients, u64),
        request: &[u8],
        out: &mut Vec<u8>,
    ) -> u32 {
        if of == OfClients::Own {
            return 0;
        }
        let filter = ClientFilter::of(request);
        let places = u32::try_from(self.connections.places()).unwrap_or(u32::MAX);
        let end = place.saturating_add(STEP_PLACES).min(places);
        for place in place..end {
            let Some(conn) = self.connections.at(place as usize) else { continue };
            if conn.phase != Phase::Open || !filter.takes(&facts(conn, self.ticks), asker) {
                continue;
            }
            let id = conn.id;
            match of {
                OfClients::Own | OfClients::List => {
                    conn.session.client_line(&facts(conn, self.ticks), out);
                }
                OfClients::Stats => stats::connection(&facts(conn, self.ticks), false, out),
                OfClients::Kill | OfClients::KillOne => {
                    conn.phase = Phase::Finishing(CloseReason::Killed);
                    out.push(b'x');
                    self.mark_dirty(id);
                }
            }
        }
        if end < places { end } else { 0 }
    }

    /// The same for the client that asks.
    pub(super) fn own_client(&self, conn: &mut Connection, of: OfClients, request: &[u8], out: &mut Vec<u8>) {
        let asks = if of == OfClients::Own { "client|info" } else { "client|list" };
        let facts = facts(conn, self.ticks).asking(request, asks);
        if of != OfClients::Own && !ClientFilter::of(request).takes(&facts, conn.number) {
            return;
        }
        match of {
            OfClients::Own | OfClients::List => conn.session.client_line(&facts, out),
            OfClients::Stats => stats::connection(&facts, true, out),
            OfClients::Kill | OfClients::KillOne => {
                conn.ends_behind_answer = true;
                out.push(b'x');
            }
        }
    }
}

fn facts(conn: &Connection, ticks: u64) -> ClientFacts<'_> {
    let seconds = |since: u64| ticks.saturating_sub(since) / 1000;
    ClientFacts {
        number: conn.number,
        peer: &conn.peer,
        local: &conn.local,
        place: conn.id.index,
        age_seconds: seconds(conn.accepted_at),
        idle_seconds: seconds(conn.received_at),
        input_bytes: conn.input.len(),
        input_free: conn.input.bytes_held().saturating_sub(conn.input.len()),
        argument_bytes: 0,
        output_held: conn.output.bytes_held(),
        output_bytes: conn.output.bytes(),
        bytes_held: conn.bytes_held(),
        subscribes: conn.subscription_bytes > 0,
        tracked: conn.tracking.as_ref().map(|tracking| tracking.told()),
        command: "NULL",
    }
}
