//! Batches of other shards that have stopped at a request which has to wait: for the tier, or for a key that is held.

use crate::worker::mail::{Batch, What};
use crate::worker::owned::fill_command;
use crate::worker::state::WorkerState;

impl WorkerState {
    /// Whether batches of a lane wait, so that others of it must, too.
    pub(in crate::worker) fn has_stopped(&self, lane: u16) -> bool {
        !self.stopped[usize::from(lane)].is_empty()
    }

    /// Lets a batch wait that has been served up to a request.
    pub(in crate::worker) fn stop(&mut self, lane: u16, batch: Box<Batch>, served: usize) {
        self.fetch_asked(&batch, served);
        // A value that waits for the room of others must not wait for those behind it in its own line.
        if !matches!(batch.kind_of(served).what, What::UploadBegin { .. }) {
            self.let_values_wait(lane, true);
        }
        self.stopped[usize::from(lane)].push_front((batch, served));
    }

    /// The values that come from a shard wait for the tier as its batches do, or no more.
    fn let_values_wait(&mut self, lane: u16, waits: bool) {
        let shard = self.mail.shard_of(lane);
        for ((from, _), foreign) in &self.foreign_uploads {
            if let Some(id) = foreign.place.ok().filter(|_| *from == shard) {
                self.shard.upload_waits(id, waits);
            }
        }
    }

    /// Lets a batch wait behind others of its lane.
    pub(in crate::worker) fn wait_behind_stopped(&mut self, lane: u16, batch: Box<Batch>) {
        self.fetch_asked(&batch, 0);
        self.stopped[usize::from(lane)].push_back((batch, 0));
    }

    /// Has the items of a batch's requests fetched, from one on, before it goes on.
    pub(in crate::worker) fn fetch_asked(&mut self, batch: &Batch, first: usize) {
        for number in first..batch.asks.len() {
            let (kind, key) = (batch.kind_of(number), batch.bytes_of(number).key);
            if let What::Keyed(op) = &kind.what {
                let command = fill_command(kind.database, key, op, &[]);
                self.fetch_ahead(&command, batch.asks[number].hash);
            }
        }
    }

    pub(in crate::worker) fn resume_batches(&mut self) {
        for lane in 0..self.mail.lanes() {
            while let Some((batch, served)) = self.stopped[usize::from(lane)].pop_front() {
                self.let_values_wait(lane, false);
                if !self.serve_on(lane, batch, served) {
                    break;
                }
            }
        }
    }
}
