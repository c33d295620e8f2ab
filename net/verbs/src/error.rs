//! What went wrong in a call of verbs.

use std::io;

/// A call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}", io::Error::from_raw_os_error(*.errno))]
pub struct VerbsError {
    /// As the library names it.
    pub call: &'static str,
    pub errno: i32,
}

impl VerbsError {
    pub(crate) fn new(call: &'static str, errno: i32) -> VerbsError {
        VerbsError { call, errno }
    }

    /// For a call that leaves its reason in `errno`.
    pub(crate) fn last(call: &'static str) -> VerbsError {
        VerbsError { call, errno: io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) }
    }

    /// For a call that returns its reason. Some return it negative, some -1 and leave it in `errno`.
    pub(crate) fn check(call: &'static str, returned: i32) -> Result<(), VerbsError> {
        match returned {
            0 => Ok(()),
            -1 => Err(VerbsError::last(call)),
            errno => Err(VerbsError::new(call, errno.saturating_abs())),
        }
    }

    /// For memory that the system does not give.
    pub fn memory(error: &io::Error) -> VerbsError {
        VerbsError { call: "mmap", errno: error.raw_os_error().unwrap_or(libc::ENOMEM) }
    }

    /// Whether a queue has no room; it has again when completions were polled.
    pub fn is_full(&self) -> bool {
        self.errno == libc::ENOMEM
    }

    /// What may help, if something is known to.
    pub fn cure(&self) -> Option<&'static str> {
        match (self.call, self.errno) {
            ("ibv_reg_mr", libc::ENOMEM) => {
                Some("raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)")
            }
            ("ibv_open_device", libc::EACCES | libc::EPERM) => {
                Some("rights for /dev/infiniband/uverbs*: a device of the container, or the group rdma")
            }
            _ => None,
        }
    }
}

/// Why a batch was not posted, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("after {posted} of them, {error}")]
pub struct PostError {
    /// So many from the first were posted, and complete as they would without the error.
    pub posted: usize,
    pub error: VerbsError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_however_it_is_given() {
        assert_eq!(VerbsError::check("x", 0), Ok(()));
        for returned in [libc::EINVAL, -libc::EINVAL] {
            assert_eq!(VerbsError::check("x", returned), Err(VerbsError::new("x", libc::EINVAL)));
        }
        assert_eq!(VerbsError::new("x", libc::EINVAL).to_string(), "x: Invalid argument (os error 22)");
    }

    #[test]
    fn memory_that_must_not_be_locked_has_a_cure() {
        assert!(
            VerbsError::new("ibv_reg_mr", libc::ENOMEM).cure().is_some_and(|cure| cure.contains("ulimit -l"))
        );
        assert_eq!(VerbsError::new("ibv_create_qp", libc::ENOMEM).cure(), None);
    }
}
