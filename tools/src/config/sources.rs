//! Where values come from, and which of them counts: flag before environment before file before default.

use super::error::ConfigError;
use super::file;
use super::settings::{SETTINGS, Setting, SettingKind, nearest, setting};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The place that a value was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment(String),
    File { path: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A setting's text, not yet understood, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) texts: Vec<String>,
    pub(crate) origin: Origin,
}

/// Texts by setting name.
pub(crate) type Texts = BTreeMap<&'static str, Raw>;

/// What the command line said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) values: BTreeMap<&'static str, Vec<String>>,
    pub(crate) config: Option<PathBuf>,
}

/// The variable that names the file when `--config` does not.
pub(crate) const CONFIG_VARIABLE: &str = "TORC_CONFIG";

/// A warning for each environment variable that begins with `TORC_` and names no setting: a misspelt one would
/// otherwise be overlooked in silence.
pub(crate) fn misspelt<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let known = |name: &str| {
        CONFIG_VARIABLE == name
            || CLI_VARIABLES.contains(&name)
            || SETTINGS.iter().any(|setting| setting.variable() == name)
    };
    let warning = |name: &str| {
        let nearest = name.strip_prefix(PREFIX).and_then(nearest).and_then(setting);
        let advice = match nearest {
            Some(setting) => format!("did you mean {}?", setting.variable()),
            None => "`torc serve --help` lists the settings".into(),
        };
        format!("the environment variable {name} names no setting and is not used; {advice}")
    };
    names.filter(|name| name.starts_with(PREFIX) && !known(name)).map(warning).collect()
}

const PREFIX: &str = "TORC_";
/// The variables that `torc cli` and `torc bench` read.
const CLI_VARIABLES: [&str; 3] = ["TORC_SERVER", "TORC_PASSWORD_FILE", "TORC_USER"];

/// One text a setting, the one that counts.
pub(crate) fn merge(
    flags: &Flags,
    environment: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<Texts, ConfigError> {
    let path = flags.config.clone().or_else(|| environment(CONFIG_VARIABLE).map(PathBuf::from));
    let mut from_file = match path {
        None => Texts::new(),
        Some(path) => {
            let text = read_file(&path).map_err(|source| ConfigError::Unreadable {
                path: path.clone(),
                reason: source.to_string(),
            })?;
            file::parse(&path, &text)?
        }
    };
    Ok(SETTINGS
        .iter()
        .map(|setting| {
            let raw = from_flags(setting, flags)
                .or_else(|| from_environment(setting, environment))
                .or_else(|| from_file.remove(setting.name))
                .unwrap_or_else(|| Raw { texts: vec![setting.default.into()], origin: Origin::Default });
            (setting.name, raw)
        })
        .collect())
}

fn from_flags(setting: &Setting, flags: &Flags) -> Option<Raw> {
    let texts = flags.values.get(setting.name)?.clone();
    Some(Raw { texts, origin: Origin::Flag })
}

/// An empty variable counts as none, as service managers cannot always unset one.
fn from_environment(setting: &Setting, environment: &dyn Fn(&str) -> Option<String>) -> Option<Raw> {
    let variable = setting.variable();
    let text = environment(&variable).filter(|text| !text.is_empty())?;
    let all = |separator| text.split(separator).map(|part: &str| part.trim().to_owned()).collect();
    let texts = match setting.kind {
        SettingKind::Many => all(','),
        SettingKind::Paths => all(':'),
        SettingKind::One | SettingKind::Switch => vec![text],
    };
    Some(Raw { texts, origin: Origin::Environment(variable) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_named_with_the_right_one() {
        let names = [
            "TORC_MEMROY",
            "TORC_MAXCONNECTIONS",
            "TORC_MEMORY",
            "TORC_CONFIG",
            "TORC_SERVER",
            "PATH",
            "TORCH",
        ];
        let warnings = misspelt(names.into_iter());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("TORC_MEMROY") && warnings[0].contains("TORC_MEMORY?"), "{warnings:?}");
        assert!(warnings[1].contains("TORC_MAX_CONNECTIONS?"), "{warnings:?}");
        assert!(misspelt(["TORC_QQQ"].into_iter())[0].contains("--help"));
    }
}
