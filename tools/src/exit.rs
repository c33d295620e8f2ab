//! How the program ends: few exit codes, one line of error, and a closed pipe is no error.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line or a setting is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// What was asked for did not work: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The reader of our output went away, as `head` does: exit code 0.
    #[error("nobody reads the output any more")]
    OutputClosed,
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl Failure {
    pub(crate) fn failed(error: impl std::fmt::Display) -> Failure {
        Failure::Failed(error.to_string())
    }

    /// Prints the error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let code = match self {
            Failure::OutputClosed => return ExitCode::SUCCESS,
            Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
        };
        // Where stderr is closed, too, the code has to do.
        let _ = writeln!(std::io::stderr(), "torc: {self}");
        ExitCode::from(code)
    }
}

/// Says on stderr what is no error.
pub(crate) fn warn(text: &str) {
    // Where stderr is closed nobody wants to know.
    let _ = writeln!(std::io::stderr(), "torc: {text}");
}

/// Writes to stdout, all of it and at once.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("stdout cannot be written: {error}")),
    })
}
