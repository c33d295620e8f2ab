//! The TOML file: a flat table of settings by their names, each key known or refused.

use super::error::ConfigError;
use super::settings::{Setting, SettingKind, nearest, setting};
use super::sources::{Origin, Raw, Texts};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads the settings of a file; their values stay text.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Texts, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        ConfigError::Syntax { path: path.into(), line, message: error.message().replace('\n', " ") }
    })?;
    let mut texts = Texts::new();
    for (key, value) in table.get_ref() {
        let line = line_of(text, key.span().start);
        let name = key.get_ref().as_ref();
        let Some(setting) = setting(name) else {
            return Err(ConfigError::UnknownKey {
                path: path.into(),
                line,
                key: name.into(),
                nearest: nearest(name).map(str::to_owned),
            });
        };
        let origin = Origin::File { path: path.into(), line };
        let values = value_texts(setting, value).map_err(|expected| ConfigError::Value {
            setting: setting.name,
            origin: origin.clone(),
            text: text.get(value.span()).unwrap_or_default().into(),
            reason: format!("is not {expected}"),
        })?;
        texts.insert(setting.name, Raw { texts: values, origin });
    }
    Ok(texts)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The values as text, or what was expected instead.
fn value_texts(setting: &Setting, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, &'static str> {
    match (setting.kind, value.get_ref()) {
        (SettingKind::Many | SettingKind::Paths, DeValue::Array(values)) => {
            values.iter().map(|value| scalar(value).ok_or("a list of strings")).collect()
        }
        (SettingKind::Many | SettingKind::Paths, _) => {
            Ok(vec![scalar(value).ok_or("a string or a list of strings")?])
        }
        (SettingKind::Switch, DeValue::Boolean(yes)) => Ok(vec![yes.to_string()]),
        (SettingKind::Switch, _) => Err("true or false"),
        (SettingKind::One, _) => Ok(vec![scalar(value).ok_or("a string or a number")?]),
    }
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("torc.toml"), text).expect_err(text).to_string()
    }

    #[test]
    fn values_keep_the_line_they_came_from() {
        let texts =
            parse(Path::new("t.toml"), "# cache\nlisten = [\"127.0.0.1:1\", 'unix:/a']\nshards = 2\n");
        let texts = texts.expect("a good file");
        assert_eq!(texts["listen"].texts, ["127.0.0.1:1", "unix:/a"]);
        assert_eq!(texts["shards"].texts, ["2"]);
        assert_eq!(texts["shards"].origin, Origin::File { path: "t.toml".into(), line: 3 });
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_cure() {
        for (text, parts) in [
            ("\nmemroy = '2g'", &["torc.toml:2", "memroy", "memory"][..]),
            ("max_value = '2g'", &["max_value", "max-value"]),
            ("[server]\nlisten = 'x'", &["torc.toml:1", "server"]),
            ("shards = true", &["shards", "torc.toml:1", "true", "a string or a number"]),
            ("allow-remote = 'yes'", &["allow-remote", "true or false"]),
            ("listen = [[1]]", &["listen", "a list of strings"]),
            ("shards = ", &["torc.toml:1"]),
            ("shards = 1\nshards = 2", &["torc.toml:2"]),
        ] {
            let error = error(text);
            for part in parts {
                assert!(error.contains(part), "{text:?}: {error}");
            }
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
