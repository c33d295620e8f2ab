//! Who waits for memory, and what the store gives or gets back: by the [`Budget`](super::budget::Budget).

mod hoarders;

pub(super) use hoarders::Hunt;

use super::budget::{LOOK_MS, Pressure, SHORT_BYTES};
use super::connection::Connection;
use super::state::WorkerState;

/// Share of the grant that unused buffers in stock may take and, while memory is short, unused batches. No client waits
/// for them, so only this bound frees them.
const STOCK_SHARE: usize = 8;
/// Connections that go on in a turn when memory is no longer short.
const RESUMED_MAX: usize = 64;

impl WorkerState {
    /// Whether a client waits for memory: it comes back without an event.
    pub(super) fn is_watched(&self) -> bool {
        self.budget.is_watched()
    }

    /// Whether clients hold so much that nothing more is taken from them in this turn.
    pub(super) fn takes_nothing(&self) -> bool {
        #[cfg(test)]
        if self.has(super::bug::Bug::EndlessBudget) {
            return false;
        }
        self.budget.takes_nothing()
    }

    /// What clients may bring in a turn, bytes.
    #[inline]
    pub(super) fn receive_window(&self) -> usize {
        #[cfg(test)]
        if self.has(super::bug::Bug::EndlessBudget) {
            return usize::MAX;
        }
        self.budget.receive_window()
    }

    /// How many of `max` bytes are parsed in a turn.
    pub(super) fn turn_bytes(&self, max: usize) -> usize {
        self.budget.turn_bytes(max)
    }

    /// Bytes of answers that may wait for a connection now. While many segments are pinned, it gets its next answer when
    /// it has taken the last one.
    pub(super) fn output_bytes_max(&self) -> usize {
        #[cfg(test)]
        if self.has(super::bug::Bug::EndlessBudget) {
            return self.settings.output_bytes_max;
        }
        if self.shard.is_short_of_pins() {
            return 0;
        }
        self.budget.limit(self.settings.output_bytes_max)
    }

    /// Whether a connection is not read for want of memory.
    pub(super) fn is_short_of_memory(&mut self, conn: &mut Connection) -> bool {
        #[cfg(test)]
        if self.has(super::bug::Bug::EndlessBudget) {
            return false;
        }
        if self.budget.is_favoured(conn.id) && conn.content_bytes() <= SHORT_BYTES {
            self.budget.no_longer_favours(conn.id);
        }
        let short = match self.budget.pressure() {
            Pressure::None => false,
            // What it holds, not the buffers around that: how long those are was not its choice.
            Pressure::Short => conn.content_bytes() > SHORT_BYTES && !self.budget.favours(conn.id),
            Pressure::Exhausted => !conn.input.is_empty() || !conn.output.is_empty(),
        };
        if short && !conn.waits_for_memory {
            conn.waits_for_memory = true;
            // No client is closed for unused room in its buffers, so the room has to go here.
            conn.input.shrink();
            self.budget.charge(conn);
            self.budget.waiting.push_back(conn.id);
        }
        short
    }

    /// Brings the accounts up to date, and takes memory from the store or gives it back.
    pub(super) fn balance(&mut self) {
        let stock = self.budget.grant() / STOCK_SHARE;
        self.pool.set_tight(self.budget.pressure() != Pressure::None);
        self.pool.trim(stock);
        if self.budget.pressure() != Pressure::None {
            self.mail.trim(stock);
        }
        let mail = self.mail.bytes_held();
        let scripts = self.scripts.as_ref().map_or(0, |scripts| scripts.bytes_held());
        if scripts > 0 {
            self.stats.script_bytes.set(scripts as u64);
        }
        let stock = self.pool.bytes_held() + self.notices.bytes_held() + self.tracking_bytes();
        self.budget.common = mail + stock + self.budget.rings + scripts;
        self.stats.mail_bytes.set(mail as u64);
        self.stats.fixed_bytes.set(self.budget.fixed as u64);
        self.stats.client_bytes.set(self.budget.used() as u64);
        self.stats.short_of_memory.set(self.budget.waiting.len() as u64);
        self.resume_for_memory();
        self.resume_asking();
        if !self.budget.lends {
            return;
        }
        let beyond = self.shared.beyond_accounts();
        let aside = self.budget.aside(beyond, self.now);
        #[cfg(test)]
        let aside = match self.bug() {
            super::bug::Bug::KeptLoan => 0,
            super::bug::Bug::IdleMemory => (self.budget.fixed as u64 + self.budget.share as u64).max(aside),
            _ => aside,
        };
        let less = self.shared.tunables.memory_less();
        self.budget.lower(less);
        self.shard.set_aside(aside + less);
        self.budget.regrant(self.shard.bytes_held() - self.shard.bytes_free(), beyond);
        self.stats.client_bytes_max.set(self.budget.grant() as u64);
        let accounted = self.shard.bytes_held() + (self.budget.used() + self.budget.fixed) as u64;
        self.shared.account(self.number, accounted);
    }

    /// Lets connections go on that were not read for want of memory; those that still hold too much wait again.
    fn resume_for_memory(&mut self) {
        match self.budget.pressure() {
            Pressure::None => {}
            Pressure::Short if self.now.saturating_sub(self.budget.resumed_at) >= LOOK_MS => {}
            Pressure::Short | Pressure::Exhausted => return,
        }
        self.budget.resumed_at = self.now;
        let mut resumed = 0;
        while resumed < RESUMED_MAX
            && let Some(id) = self.budget.waiting.pop_front()
        {
            if let Some(conn) = self.connections.find(id) {
                conn.waits_for_memory = false;
                resumed += 1;
                self.mark_dirty(id);
            }
        }
    }

    /// Lets a connection wait until a long value may be lent, as what it asks for next would pin more than may be pinned; or until
    /// another shard may know more of what its tier holds.
    pub(super) fn ask_later(&mut self, conn: &mut Connection) {
        if !conn.asks_later {
            conn.asks_later = true;
            self.budget.asking.push(conn.id);
        }
    }

    /// Lets connections ask again for what could not be lent.
    fn resume_asking(&mut self) {
        if self.now.saturating_sub(self.budget.asked_at) < LOOK_MS {
            return;
        }
        self.budget.asked_at = self.now;
        for id in std::mem::take(&mut self.budget.asking) {
            if let Some(conn) = self.connections.find(id) {
                conn.asks_later = false;
                self.mark_dirty(id);
            }
        }
    }
}
