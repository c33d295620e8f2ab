//! What tests look at.

use super::Link;
use torc_verbs::seam::Verbs;

/// What of a link is the same again whenever nothing is under way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) credits: u32,
    pub(crate) given: u32,
    pub(crate) owed: u32,
    pub(crate) owed_units: usize,
    pub(crate) pings: [u8; 2],
    pub(crate) posted: usize,
    pub(crate) free_slots: usize,
}

impl<V: Verbs> Link<V> {
    pub(crate) fn rest(&self) -> Rest {
        Rest {
            credits: self.credits,
            given: self.given,
            owed: self.owed,
            owed_units: self.owed_units,
            pings: [self.pings, self.their_pings],
            posted: self.sends.count(),
            free_slots: self.sends.free_slots(),
        }
    }

    /// As with a device that sends nothing inline.
    pub(crate) fn forgo_inline(&mut self) {
        self.inline_max = 0;
    }
}
