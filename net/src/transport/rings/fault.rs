//! Steps that a shard leaves out because a test wants to see them missed.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It sleeps without a second look.
    NoLookBeforeSleep,
    /// A ring gets cold without a second look.
    NoLookBeforeCold,
    /// A ring gets cold without a word.
    ColdUntold,
    /// A bell that was due while another was on its way is forgotten.
    OwedForgotten,
    /// A heard bell leaves the number of the sleep as it is.
    NumberKept,
    /// Who waits for room does not say so.
    RoomUntold,
    /// What was written when there was room again is not rung for.
    RestUnrung,
}

impl Fault {
    pub(super) const ALL: [Fault; 7] = [
        Fault::NoLookBeforeSleep,
        Fault::NoLookBeforeCold,
        Fault::ColdUntold,
        Fault::OwedForgotten,
        Fault::NumberKept,
        Fault::RoomUntold,
        Fault::RestUnrung,
    ];
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Whether this thread is to make this mistake.
pub(super) fn has(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

pub(super) fn put_in(fault: Option<Fault>) {
    FAULT.set(fault);
}
