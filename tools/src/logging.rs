//! Log lines go to stderr, as text for people or as JSON for machines; stdout belongs to answers.

use crate::config::{Config, LogFormat};
use std::io::IsTerminal;

/// Sets the process's subscriber; called once, before any thread starts.
pub(crate) fn init(config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(config.log_level)
        .with_writer(std::io::stderr)
        // A log line that cannot be written would be reported to stderr, which is what failed, and end the process.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    match config.log {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
