//! The CPU that the process has used.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuTime {
    pub system: Duration,
    pub user: Duration,
}

impl CpuTime {
    /// Of all its threads, those that have ended too.
    pub(crate) fn of_process() -> CpuTime {
        // SAFETY: `rusage` is plain numbers, for which zeros are valid; `getrusage` writes it and keeps nothing.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        CpuTime { system: duration(usage.ru_stime), user: duration(usage.ru_utime) }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec.unsigned_abs(), 0) + Duration::from_micros(time.tv_usec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_has_used_more_than_before() {
        let before = CpuTime::of_process();
        while CpuTime::of_process() <= before {
            std::hint::black_box((0..10_000u64).sum::<u64>());
        }
    }
}
