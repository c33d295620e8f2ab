//! What can be wrong with a configuration; each message is one line with the setting, its origin and the cure.

use super::sources::Origin;
use std::path::PathBuf;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("--config: {} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}:{line}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{}:{line}: there is no setting '{key}'{}", path.display(), suggest(nearest))]
    UnknownKey { path: PathBuf, line: usize, key: String, nearest: Option<String> },
    #[error("--{setting}: '{text}' {reason} (from {origin})")]
    Value { setting: &'static str, origin: Origin, text: String, reason: String },
}

fn suggest(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean '{name}'?"),
        None => "; `torc serve --help` lists them all".into(),
    }
}
