//! Which cores a thread may use.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::BenchError;

/// Some cores.
pub(crate) fn core_set(cpus: &[usize]) -> Result<CpuSet, BenchError> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(BenchError::setting("cpu", format!("there is no core {cpu}")));
        }
        set.set(cpu);
    }
    Ok(set)
}

/// Pins the calling thread (and what it starts afterwards) to core `cpu`.
pub(crate) fn pin(cpu: usize) -> Result<(), BenchError> {
    sched_setaffinity(None, &core_set(&[cpu])?).map_err(BenchError::io(format!("pinning to core {cpu}")))
}

/// The cores that this thread may use, ascending.
pub(crate) fn allowed() -> Result<Vec<usize>, BenchError> {
    let set = sched_getaffinity(None).map_err(BenchError::io("asking which cores may be used"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_one_core() {
        let pinned = std::thread::spawn(|| {
            let first = allowed().unwrap()[0];
            pin(first).unwrap();
            (first, allowed().unwrap())
        });
        let (first, cores) = pinned.join().unwrap();
        assert_eq!(cores, [first]);
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        assert!(pin(100_000).is_err());
    }
}
