//! Pins a thread to CPUs.

use std::io;

/// Makes the calling thread run on `cpu` alone.
///
/// # Errors
/// `EINVAL`: there is no such CPU, or this process may not use it.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    pin_to_any(&[cpu])
}

/// Makes the calling thread run on these CPUs alone.
///
/// # Errors
/// `EINVAL`: there are none of them, or this process may not use them.
pub fn pin_to_any(cpus: &[usize]) -> io::Result<()> {
    if cpus.iter().any(|cpu| *cpu >= libc::CPU_SETSIZE as usize) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a CPU set is plain bits; all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: `cpu` is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is readable for its size; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// CPUs that the calling thread may run on, ascending (taskset, cgroup cpusets).
pub fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: as in `pin_to`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable for its size; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every number asked for is below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_one_cpu() {
        std::thread::spawn(|| {
            let cpu = *allowed().unwrap().last().unwrap();
            pin_to(cpu).unwrap();
            assert_eq!(allowed().unwrap(), [cpu]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_may_be_pinned_to_several() {
        std::thread::spawn(|| {
            let cpus: Vec<usize> = allowed().unwrap().into_iter().take(2).collect();
            pin_to_any(&cpus).unwrap();
            assert_eq!(allowed().unwrap(), cpus);
        })
        .join()
        .unwrap();
        assert!(pin_to_any(&[]).is_err());
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        assert!(pin_to(1_000_000).is_err());
        assert!(pin_to(libc::CPU_SETSIZE as usize - 1).is_err());
    }
}
