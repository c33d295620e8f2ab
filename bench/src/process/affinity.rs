//! Pinning to one core.

use std::{io, mem};

use crate::error::BenchError;

/// Pins the calling thread (and what it starts afterwards) to core `cpu`.
pub fn pin(cpu: usize) -> Result<(), BenchError> {
    CoreSet::new(&[cpu])?.apply().map_err(BenchError::io(format!("pinning to core {cpu}")))
}

/// Some cores.
#[derive(Clone, Copy)]
pub struct CoreSet(libc::cpu_set_t);

impl CoreSet {
    pub fn new(cpus: &[usize]) -> Result<Self, BenchError> {
        // SAFETY: `cpu_set_t` is an array of integers; all zeros is the empty set.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        for &cpu in cpus {
            if cpu >= libc::CPU_SETSIZE as usize {
                return Err(BenchError::setting("cpu", format!("there is no core {cpu}")));
            }
            // SAFETY: `cpu` is below CPU_SETSIZE, which is how many bits the set has.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        Ok(Self(set))
    }

    /// Binds the calling thread. One system call and no allocation, so that it may run between
    /// fork and exec.
    pub fn apply(&self) -> io::Result<()> {
        // SAFETY: the kernel reads `size_of_val(&self.0)` bytes, which `self` borrows.
        match unsafe { libc::sched_setaffinity(0, mem::size_of_val(&self.0), &raw const self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The cores that this thread may use, ascending.
pub fn allowed() -> Result<Vec<usize>, BenchError> {
    // SAFETY: `cpu_set_t` is an array of integers; all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most `size_of_val(&set)` bytes into `set`.
    let result = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &raw mut set) };
    if result != 0 {
        return Err(BenchError::os("asking which cores may be used"));
    }
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: each `cpu` is below CPU_SETSIZE, which is how many bits the set has.
    Ok(all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
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
