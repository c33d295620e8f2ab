//! Where tests interrupt a reader or an owner, to let the other one act.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// A check that a reader leaves out, or a step that an owner does, because a test wants to see it missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The slot is not looked at again before the copy.
    SlotAgain,
    /// The generation is not looked at again after the copy.
    GenerationAgain,
    /// A miss is believed whatever happened to the geometry.
    GeometryAgain,
    /// A dead item is a miss.
    DeadIsMiss,
    /// Flushes are not looked at.
    Flushes,
    /// The table of spaces is not looked at again.
    Spaces,
    /// The owner does not raise generations.
    Raise,
    /// A miss is believed although something is elsewhere.
    ElsewhereUnseen,
    /// The owner says that something is elsewhere when the slot has gone.
    ElsewhereLate,
    /// The owner forgets the place before the new item can be found.
    ElsewhereEarly,
    /// The owner raises a generation after the first byte has changed.
    RaiseLate,
    /// The index has a frame, and shows it, whose generation is not raised yet.
    ChunkEarly,
    /// The owner takes an item out of the index before it marks it dead.
    BuryLate,
    /// A reader in another process does not look at the word of the clock again.
    StaleClock,
    /// A clock shows a time before all who go by it can know.
    ClockLate,
    /// A segment does not rest for readers elsewhere.
    RestNot,
    /// Readers elsewhere are not made to leave before what they may read is written.
    RevokeNot,
    /// A reader elsewhere takes the head as it lands first.
    FarHeads,
    /// It does not look again whether spaces, flushes, or for a miss the geometry, are the same.
    FarSpaces,
    FarFlushes,
    FarGeometry,
    /// It does not mind that a flush is due.
    FarFlushDue,
    /// It goes by the clock as the head had it when it was read first.
    FarClock,
    /// It reads on when its lease has ended; or takes a later one for it.
    FarLease,
    FarLeaseAnew,
    /// It takes what lies at a remembered place for what lay there.
    FarPlace,
    /// It takes any item with the tag for the key's.
    FarKey,
    /// It does not mind what the owner says of its memory.
    FarEpoch,
}

impl Fault {
    /// Those that any reader shows.
    pub(crate) const ALL: [Fault; 11] = [
        Fault::SlotAgain,
        Fault::GenerationAgain,
        Fault::GeometryAgain,
        Fault::DeadIsMiss,
        Fault::Flushes,
        Fault::Spaces,
        Fault::Raise,
        Fault::ElsewhereUnseen,
        Fault::ElsewhereLate,
        Fault::ElsewhereEarly,
        Fault::RaiseLate,
    ];
}

thread_local! {
    static OTHER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    static LATE: RefCell<VecDeque<u32>> = const { RefCell::new(VecDeque::new()) };
}

/// Calls what [`interrupt`] has set. It is not interrupted in turn.
pub(crate) fn step() {
    let other = OTHER.with_borrow_mut(Option::take);
    if let Some(mut other) = other {
        other();
        OTHER.set(Some(other));
    }
}

/// Whether this thread is to make this mistake.
pub(crate) fn has(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// The segment whose generation is raised late, as this one is free.
pub(crate) fn late(segment: u32) -> Option<u32> {
    if !has(Fault::RaiseLate) {
        return None;
    }
    LATE.with_borrow_mut(|late| {
        late.push_back(segment);
        if late.len() > 8 { late.pop_front() } else { None }
    })
}

pub(crate) fn put_in(fault: Option<Fault>) {
    FAULT.set(fault);
}

/// Runs `body`, and at each of its steps `other`.
pub(crate) fn interrupt<R>(other: impl FnMut() + 'static, body: impl FnOnce() -> R) -> R {
    OTHER.set(Some(Box::new(other)));
    let result = body();
    OTHER.set(None);
    result
}
