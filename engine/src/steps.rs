//! Where tests interrupt a reader or an owner, to let the other one act.

use std::cell::{Cell, RefCell};

/// A check that a reader leaves out, or a step that an owner does, because a test wants to see it missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The slot is not looked at again before the copy.
    SlotAgain,
    /// The generation is not looked at again after the copy.
    GenerationAgain,
    /// A miss is believed whatever happened to its home.
    HomeAgain,
    /// A miss is believed whatever happened to the geometry.
    GeometryAgain,
    /// A dead item is a miss.
    DeadIsMiss,
    /// Flushes are not looked at.
    Flushes,
    /// The owner does not raise generations.
    Raise,
    /// The owner does not mark a home whose entries are exchanged.
    Exchange,
    /// The owner raises a generation after the first byte has changed.
    RaiseLate,
    /// The index has a frame, and shows it, whose generation is not raised yet.
    ChunkEarly,
    /// A reader in another process does not look at the word of the clock again.
    StaleClock,
}

impl Fault {
    /// Those that any reader shows.
    pub(crate) const ALL: [Fault; 9] = [
        Fault::SlotAgain,
        Fault::GenerationAgain,
        Fault::HomeAgain,
        Fault::GeometryAgain,
        Fault::DeadIsMiss,
        Fault::Flushes,
        Fault::Raise,
        Fault::Exchange,
        Fault::RaiseLate,
    ];
}

thread_local! {
    static OTHER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
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
