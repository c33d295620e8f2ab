//! Batches of other shards that have stopped at a request which has to wait.

use crate::worker::mail::{Batch, What};
use crate::worker::owned::fill_command;
use crate::worker::state::WorkerState;
use std::collections::VecDeque;

impl WorkerState {
    /// Whether batches of a shard wait, so that others of it must, too.
    pub(in crate::worker) fn has_stopped(&self, shard: u16) -> bool {
        self.tier.as_ref().is_some_and(|tier| !tier.stopped[usize::from(shard)].is_empty())
    }

    /// Lets a batch wait that has been served up to a request.
    pub(in crate::worker) fn stop(&mut self, shard: u16, batch: Box<Batch>, served: usize) {
        self.fetch_asked(&batch, served);
        // A value that waits for the room of others must not wait for those behind it in its own line.
        if !matches!(batch.kind_of(served).what, What::UploadBegin { .. }) {
            self.let_values_wait(shard, true);
        }
        self.stopped(shard).push_front((batch, served));
    }

    /// The values that come from a shard wait for the tier as its batches do, or no more.
    fn let_values_wait(&mut self, shard: u16, waits: bool) {
        for ((from, _), foreign) in &self.foreign_uploads {
            if let Some(id) = foreign.place.ok().filter(|_| *from == shard) {
                self.shard.upload_waits(id, waits);
            }
        }
    }

    /// Lets a batch wait behind others of its shard.
    pub(in crate::worker) fn wait_behind_stopped(&mut self, shard: u16, batch: Box<Batch>) {
        self.fetch_asked(&batch, 0);
        self.stopped(shard).push_back((batch, 0));
    }

    pub(in crate::worker) fn stopped(&mut self, shard: u16) -> &mut VecDeque<(Box<Batch>, usize)> {
        let Some(tier) = &mut self.tier else { unreachable!("without a tier nothing waits for it") };
        &mut tier.stopped[usize::from(shard)]
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
        for shard in 0..self.mail.shards() {
            loop {
                let stopped = self.tier.as_mut().map(|tier| &mut tier.stopped[usize::from(shard)]);
                let Some((batch, served)) = stopped.and_then(VecDeque::pop_front) else { break };
                self.let_values_wait(shard, false);
                if !self.serve_on(shard, batch, served) {
                    break;
                }
            }
        }
    }
}
