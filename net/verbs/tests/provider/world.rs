//! Two devices on one wire.

use std::sync::Arc;
use torc_verbs::completion::Completion;
use torc_verbs::path::Path;
use torc_verbs::seam::{CompletionQueue, Verbs};

pub(crate) trait World {
    type Device: Verbs;

    /// Opens the device at this end of the wire: 0 or 1.
    fn open(&self, end: usize) -> Self::Device;

    /// A path from the device at this end to the other.
    fn path(&self, end: usize) -> Path;

    /// Lets something happen. False: nothing has for so long that nothing will.
    fn turn(&self, since: u64) -> bool;

    /// The time, in units of its own.
    fn now(&self) -> u64;

    /// Sets the link at this end; false: it cannot be done here.
    fn set_link(&self, end: usize, is_up: bool) -> bool;

    /// Begins to remove the device at this end, `device`.
    fn begin_removal(&self, end: usize, device: &Self::Device);

    /// Whether the device at this end is removed; `device` is a value of it if that can be told only so.
    fn is_removed(&self) -> bool;

    /// Puts the device back that was removed.
    fn bring_back(&self, end: usize);
}

/// What it is of a world that its devices make.
pub(crate) type Memory = Arc<torc_verbs::memory::Buffer>;

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn wait<W: World, T>(world: &W, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = world.now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(world.turn(since), "no {what}");
    }
}

/// Waits for the next completion of a queue.
#[track_caller]
pub(crate) fn completion<W: World>(world: &W, queue: &impl CompletionQueue) -> Completion {
    wait(world, "completion", || {
        let mut one = [Completion::NONE];
        (queue.poll(&mut one).expect("a queue") == 1).then_some(one[0])
    })
}
