//! Limits of the process that the server needs raised.

/// Descriptors beside the clients': listeners, rings, memory, logs.
const FILES_RESERVED: u64 = 64;

/// Raises the limit of open files to what so many connections need, as far as the hard limit allows.
pub(super) fn raise_files(connections_max: usize) {
    let needed = connections_max as u64 + FILES_RESERVED;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= needed {
        return;
    }
    let before = limit.rlim_cur;
    limit.rlim_cur = needed.min(limit.rlim_max);
    // SAFETY: `limit` is readable.
    let raised = limit.rlim_cur > before && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0;
    let possible = if raised { limit.rlim_cur } else { before };
    if possible < needed {
        tracing::warn!(
            "--max-connections {connections_max} needs {needed} open files, {possible} are allowed: about {} clients fit (raise ulimit -n)",
            possible.saturating_sub(FILES_RESERVED)
        );
    }
}
