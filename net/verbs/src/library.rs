//! The library of verbs, which may not be there.

use crate::sys;
use std::sync::OnceLock;

/// Why there is no library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    #[error("there is no libibverbs: {0}")]
    Missing(String),
    #[error("libibverbs is too old: {0}")]
    Incomplete(String),
}

impl LibraryError {
    /// What may help.
    pub fn cure(&self) -> &'static str {
        match self {
            LibraryError::Missing(_) => {
                "install libibverbs and its drivers (Debian: libibverbs1 ibverbs-providers)"
            }
            LibraryError::Incomplete(_) => "a newer rdma-core",
        }
    }
}

/// The functions of the library, which is looked for once and stays loaded.
///
/// # Errors
/// Why there is none.
pub(crate) fn load() -> Result<&'static sys::Functions, LibraryError> {
    static LIBRARY: OnceLock<Result<sys::Functions, LibraryError>> = OnceLock::new();
    LIBRARY.get_or_init(sys::load).as_ref().map_err(LibraryError::clone)
}

/// Whether there is one that could be loaded. It does not stay: a process without devices needs none of its memory.
///
/// # Errors
/// Why there is none.
pub(crate) fn look() -> Result<(), LibraryError> {
    sys::load().map(drop)
}
