//! What goes wrong on media, in words for whoever runs the server.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum MediaError {
    #[error("cannot open {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} is used by another process, which holds the lock on it")]
    Locked { path: PathBuf },
    #[error("{path} was replaced while it was opened: try again")]
    Replaced { path: PathBuf },
    #[error("{path} is not a regular file")]
    NotAFile { path: PathBuf },
    #[error("no room for the {wanted} bytes of {path}: {source}")]
    Full { path: PathBuf, wanted: u64, source: io::Error },
    #[error(
        "{path} holds {found} bytes, {wanted} were asked for: give the size that it has, or another path"
    )]
    Size { path: PathBuf, found: u64, wanted: u64 },
    #[error("{path} has shrunk from {wanted} bytes to {found} while it was used")]
    Shrunk { path: PathBuf, found: u64, wanted: u64 },
    #[error(
        "{path} could not be reached at byte {at}: its memory is broken there, or it was cut for a while"
    )]
    Fault { path: PathBuf, at: u64 },
    #[error("cannot map {path} for direct access: {reason}")]
    NotDax { path: PathBuf, reason: String },
    #[error("cannot {what} {bytes} bytes at byte {at}: {source}")]
    Io { what: &'static str, at: u64, bytes: u64, source: io::Error },
    #[error("cannot make sure that what was written is safe: {0}")]
    Drain(io::Error),
    #[error("{member}: {source}")]
    Member { member: String, source: Box<MediaError> },
    #[error("no memory for a medium of {bytes} bytes: {source}")]
    Memory { bytes: u64, source: io::Error },
    #[error("{bytes} bytes at byte {at} are not whole blocks inside the medium's {size} bytes")]
    Outside { at: u64, bytes: u64, size: u64 },
}

impl MediaError {
    /// Of a medium that is a member, with its name where the error says none.
    pub(crate) fn of_member(self, name: &str) -> MediaError {
        match self {
            source @ (MediaError::Io { .. } | MediaError::Drain(_)) => {
                MediaError::Member { member: name.into(), source: Box::new(source) }
            }
            named => named,
        }
    }
}
