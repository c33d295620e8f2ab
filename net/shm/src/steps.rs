//! Where tests let the other side act (feature `steps`): before every access to the words that two processes share, and before every
//! bell. The code that is tested is the code that serves; without the feature nothing of this is there.

use std::cell::RefCell;
pub(crate) use std::sync::atomic::Ordering;

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Load,
    Store,
    Fence,
    Bell,
}

type Hook = Box<dyn FnMut(Step)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Calls `hook` at each step of this thread from here on, or nothing. A step within the hook is none.
pub fn at_each(hook: Option<Hook>) {
    HOOK.set(hook);
}

pub(crate) fn step(step: Step) {
    if let Some(mut hook) = HOOK.take() {
        hook(step);
        HOOK.set(Some(hook));
    }
}

pub(crate) fn fence(order: Ordering) {
    step(Step::Fence);
    std::sync::atomic::fence(order);
}

/// The word that two processes share.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct AtomicU64(std::sync::atomic::AtomicU64);

impl AtomicU64 {
    #[cfg(test)]
    pub(crate) fn new(value: u64) -> AtomicU64 {
        AtomicU64(std::sync::atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        step(Step::Load);
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        step(Step::Store);
        self.0.store(value, order);
    }
}
