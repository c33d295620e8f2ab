//! How much memory may be registered: registered pages are locked.

use std::fs;
use std::path::Path;

/// The capability with which the limit does not count.
const CAP_IPC_LOCK: u32 = 14;

/// Bytes that this process may lock; `None`: any number.
pub fn limit() -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    if may_lock_any(&status) {
        return None;
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    let returned = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (returned == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

fn may_lock_any(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_capability_is_found_among_others() {
        let status = |bits: &str| format!("Name:\ttorc\nCapPrm:\t000001ffffffffff\nCapEff:\t{bits}\n");
        assert!(super::may_lock_any(&status("000001ffffffffff")));
        assert!(super::may_lock_any(&status("0000000000004000")));
        assert!(!super::may_lock_any(&status("0000000000003000")));
        assert!(!super::may_lock_any(""));
    }
}
