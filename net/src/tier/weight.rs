//! Where the tier's threads run, and how much the storage thread counts beside the shards if it has no CPUs of its own.
//!
//! Without those it is scheduled as a batch at low weight, so that it takes what the shards leave, and as they are while it is late or while
//! somebody waits for it. A process without the right to raise a thread again (a limit of nice, `LimitNICE=` in systemd, or
//! CAP_SYS_NICE) leaves the weight alone: a thread that stays low would let the bound of `--durability` go.

use crate::pin::pin_to_any;
use std::io;

/// Nice levels that the thread goes down by: a tenth of the weight.
const LOWER_BY: libc::c_int = 10;
const NICE_MOST: libc::c_int = 19;

/// The weight of the thread that made it.
#[derive(Debug, Default)]
pub(super) struct Weight {
    /// Nice levels of it when it counts as others do, and when it does not. `None`: it always does.
    levels: Option<(libc::c_int, libc::c_int)>,
    is_low: bool,
}

impl Weight {
    /// `lowers`: the calling thread may count less than others.
    pub(super) fn of_this_thread(lowers: bool) -> Weight {
        let levels = lowers.then(levels).flatten();
        Weight { levels, is_low: false }
    }

    /// Lets the thread count as others do, or less.
    pub(super) fn set(&mut self, is_low: bool) {
        let Some((usual, low)) = self.levels.filter(|_| is_low != self.is_low) else { return };
        let (nice, policy) = if is_low { (low, libc::SCHED_BATCH) } else { (usual, libc::SCHED_OTHER) };
        // Both have been tried; if they fail all the same, the thread is only more or less of a neighbour than it should be.
        let _ = set_nice(nice).and_then(|()| set_policy(policy));
        self.is_low = is_low;
    }

    #[cfg(test)]
    fn is_low(&self) -> bool {
        self.is_low
    }
}

/// Lets the calling thread count less than others for as long as it lives. Without the right to, it counts as they do.
pub(super) fn lower_this_thread() {
    let _ = set_nice((nice() + LOWER_BY).min(NICE_MOST)).and_then(|()| set_policy(libc::SCHED_BATCH));
}

/// The levels, if a thread that went down can come back. Tried by one that ends with it.
fn levels() -> Option<(libc::c_int, libc::c_int)> {
    let tried = std::thread::spawn(|| {
        let usual = nice();
        let low = (usual + LOWER_BY).min(NICE_MOST);
        let down = set_nice(low).and_then(|()| set_policy(libc::SCHED_BATCH));
        let back = down.and_then(|()| set_nice(usual)).and_then(|()| set_policy(libc::SCHED_OTHER));
        back.ok().map(|()| (usual, low))
    });
    tried.join().ok().flatten()
}

/// The nice level of the calling thread.
fn nice() -> libc::c_int {
    // SAFETY: 0 is the calling thread; nothing of ours is read or written.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

fn set_nice(nice: libc::c_int) -> io::Result<()> {
    // SAFETY: as in `nice`.
    done(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })
}

fn set_policy(policy: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the parameters live through the call.
    done(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread run on these CPUs alone, if there are any.
pub(super) fn run_on(cpus: &[usize]) {
    // They were looked at before; if they are gone meanwhile it runs anywhere.
    if !cpus.is_empty()
        && let Err(error) = pin_to_any(cpus)
    {
        tracing::warn!("--storage-cpus: {error}; the tier's threads run anywhere");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: 0 is the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn a_thread_goes_down_and_comes_back_or_stays_where_it_is() {
        std::thread::spawn(|| {
            let (usual, mut weight) = (nice(), Weight::of_this_thread(true));
            assert_eq!((nice(), policy()), (usual, libc::SCHED_OTHER), "trying leaves no trace");
            weight.set(true);
            match weight.levels {
                Some((_, low)) => assert_eq!((nice(), policy()), (low, libc::SCHED_BATCH)),
                None => assert_eq!((nice(), policy(), weight.is_low()), (usual, libc::SCHED_OTHER, false)),
            }
            weight.set(false);
            assert_eq!((nice(), policy()), (usual, libc::SCHED_OTHER));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn one_that_may_not_go_down_does_not() {
        let (usual, mut weight) = (nice(), Weight::of_this_thread(false));
        weight.set(true);
        assert_eq!((nice(), policy()), (usual, libc::SCHED_OTHER));
    }

    #[test]
    fn without_the_right_to_come_back_it_does_not_go_down() {
        std::thread::spawn(|| {
            // Threads that this one starts inherit what it gives up.
            // SAFETY: the calls change the rights of this thread alone, which ends with them.
            unsafe {
                let none = [0_u32; 6];
                let header = [0x2008_0522_u32, 0];
                assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()), 0);
            }
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the record lives through the call.
            assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NICE, &raw mut limit) }, 0);
            if limit.rlim_cur == 0 {
                assert!(Weight::of_this_thread(true).levels.is_none());
            }
        })
        .join()
        .unwrap();
    }
}
