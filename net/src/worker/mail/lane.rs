//! One shard's way to another.

use super::batch::{Ask, AskBytes, BATCH_ASKS, Batch, Report};
use super::mailbox::{Doorbell, Receiver, Sender};
use super::{LEFT_PLACES, RESUME_PLACES};
use crate::transport::ConnId;
use std::collections::VecDeque;
use std::sync::Arc;
use torc_engine::command::Millis;
use torc_engine::segments::Lent;

/// So many accesses are worth a batch of their own.
const REPORTS_MAX: usize = 256;
/// Fewer wait for the next requests so long, milliseconds: clients of the owner are shown whether an item was read.
const REPORTS_WAIT_MS: Millis = 1000;

/// One shard's way to another.
pub(crate) struct Lane {
    pub(super) asks_out: Sender<Box<Batch>>,
    pub(super) asks_in: Receiver<Box<Batch>>,
    pub(super) answers_out: Sender<Box<Batch>>,
    pub(super) answers_in: Receiver<Box<Batch>>,
    pub(super) batches_max: usize,
    /// Batches that the other shard has, and their memory.
    pub(super) under_way: usize,
    pub(super) bytes_under_way: usize,
    /// Requests in them.
    pub(super) asks_under_way: usize,
    /// Of this shard's turn, or later if another shard has told it so.
    pub(super) now: Millis,
    /// The batch that is being filled.
    pub(super) open: Box<Batch>,
    // Boxed as they travel: a batch is taken out and sent without being moved.
    #[allow(clippy::vec_box)]
    pub(super) spare: Vec<Box<Batch>>,
    /// Lent bytes that go home with the next batch, in either direction.
    pub(super) released: Vec<Lent>,
    /// Accesses to the other shard's items. They go with the next requests, or when there are many, or after a while.
    pub(super) reports: Vec<Report>,
    /// When the first of them was noted.
    pub(super) reports_since: Millis,
    /// Connections that wait for a place, in their order.
    pub(super) line: VecDeque<ConnId>,
    pub(super) bell: Arc<Doorbell>,
}

impl Lane {
    /// Sends a request with the next batch. False: there is no place for it now.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>, bytes: AskBytes<'_>) -> bool {
        let length = bytes.key.len() + bytes.value.len() + bytes.echo.len();
        if !self.open.takes(length, ask.room as usize) {
            self.send();
        }
        if self.under_way >= self.batches_max || !self.open.takes(length, ask.room as usize) {
            return false;
        }
        self.open.add(ask, bytes);
        true
    }

    /// Whether a request with so many bytes, whose answer has no value, can be taken now.
    pub(crate) fn has_room_for(&self, length: usize) -> bool {
        let left = self.batches_max - self.under_way;
        left > usize::from(!self.open.takes(length, 0))
    }

    /// Requests that can be taken now, if they are short.
    pub(crate) fn places(&self) -> usize {
        let left = self.batches_max - self.under_way;
        (left * BATCH_ASKS).saturating_sub(self.open.asks.len())
    }

    /// Hands the open batch to the ring, if it may go.
    fn send(&mut self) {
        if self.under_way >= self.batches_max {
            return;
        }
        self.open.released.append(&mut self.released);
        if self.open.is_empty() && !self.are_reports_due() {
            return;
        }
        self.open.reports.append(&mut self.reports);
        self.open.now = self.now;
        let next = self.spare.pop().unwrap_or_default();
        let mut batch = std::mem::replace(&mut self.open, next);
        batch.sent_bytes = batch.capacity();
        let (asks, bytes) = (batch.asks.len(), batch.sent_bytes);
        match self.asks_out.send(batch) {
            Ok(()) => {
                self.under_way += 1;
                self.bytes_under_way += bytes;
                self.asks_under_way += asks;
            }
            // The ring holds as many batches as may be under way. If it is full all the same, the next call sends this one.
            Err(batch) => self.spare.push(std::mem::replace(&mut self.open, batch)),
        }
    }

    /// Whether the accesses are worth a batch of their own.
    fn are_reports_due(&self) -> bool {
        match self.reports.len() {
            0 => false,
            len => len >= REPORTS_MAX || self.now.saturating_sub(self.reports_since) >= REPORTS_WAIT_MS,
        }
    }

    /// Lets a connection wait for a place.
    pub(crate) fn wait(&mut self, conn: ConnId) {
        self.line.push_back(conn);
    }

    /// Whether a connection waits although there are places for it.
    pub(crate) fn has_resumable(&self) -> bool {
        !self.line.is_empty() && self.places() >= RESUME_PLACES + LEFT_PLACES
    }

    /// Takes as many connections out of the line, in their order, as there are places for.
    pub(crate) fn take_resumable(&mut self, resumed: &mut Vec<ConnId>) {
        let places = self.places().saturating_sub(LEFT_PLACES);
        let count = (places / RESUME_PLACES).min(self.line.len());
        resumed.extend(self.line.drain(..count));
    }

    /// Sends a request with the next batch even if there is no place for it. Only for requests that free memory, or answer one.
    pub(crate) fn ask_anyway(&mut self, ask: &Ask<'_>) {
        self.open.add(ask, AskBytes::default());
    }

    pub(crate) fn release(&mut self, lent: Lent) {
        self.released.push(lent);
    }

    /// Notes an access to an item of the other shard; beyond [`REPORTS_MAX`] that wait it is forgotten.
    #[inline]
    pub(crate) fn report(&mut self, report: Report) {
        if self.reports.is_empty() {
            self.reports_since = self.now;
        }
        if self.reports.len() < REPORTS_MAX {
            self.reports.push(report);
        }
    }

    /// The next batch of requests from the other shard.
    pub(crate) fn next_asked(&mut self) -> Option<Box<Batch>> {
        self.asks_in.receive()
    }

    /// Sends the other shard's batch home, with its answers.
    pub(crate) fn answer(&mut self, mut batch: Box<Batch>) {
        batch.released.append(&mut self.released);
        // The ring is as long as the other shard may have batches under way, so there is room.
        let sent = self.answers_out.send(batch);
        debug_assert!(sent.is_ok(), "every batch under way has a place for its answers");
    }

    /// The next own batch that has come home.
    pub(crate) fn next_answered(&mut self) -> Option<Box<Batch>> {
        let batch = self.answers_in.receive()?;
        self.under_way -= 1;
        self.bytes_under_way -= batch.sent_bytes;
        self.asks_under_way -= batch.asks.len();
        Some(batch)
    }

    /// Keeps an own batch for later use.
    pub(crate) fn recycle(&mut self, mut batch: Box<Batch>) {
        batch.clear();
        self.spare.push(batch);
    }

    /// Frees unused batches until the rest hold at most so many bytes.
    pub(super) fn trim(&mut self, bytes: usize) {
        while self.spare_bytes() > bytes {
            self.spare.pop();
        }
        if self.reports.is_empty() {
            self.reports = Vec::new();
        }
        if self.open.is_empty() && self.open.capacity() > bytes {
            *self.open = Batch::default();
        }
    }

    fn spare_bytes(&self) -> usize {
        self.spare.iter().map(|batch| batch.capacity()).sum()
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        self.asks_in.is_empty() && self.answers_in.is_empty()
    }

    /// Shows the other side all that was written. True if it must be woken.
    pub(super) fn publish(&mut self) -> bool {
        self.send();
        let asked = self.asks_out.publish();
        let answered = self.answers_out.publish();
        (asked || answered) && self.bell.ring()
    }

    /// Whether everything that was written has gone.
    pub(super) fn has_sent_all(&self) -> bool {
        self.released.is_empty() && self.open.is_empty()
    }

    /// Memory of its batches, bytes; those that the other shard has are included.
    pub(super) fn bytes_held(&self) -> usize {
        let reports = self.reports.capacity() * size_of::<Report>();
        self.open.capacity() + self.spare_bytes() + self.bytes_under_way + reports
    }
}
