//! `--requirepass-file` and `--auth-file`: who is let in.
//!
//! Passwords come in files, never as an argument or a setting's own text: those are shown to whoever lists processes, and by `--check`.

use super::{ConfigError, Reader};
use std::io::Read;
use torc_net::users::{DEFAULT_USER, Users};

/// Longest file of passwords, bytes.
const FILE_BYTES_MAX: u64 = 128 << 10;

impl Reader<'_> {
    pub(super) fn users_let_in(&mut self) -> Result<Users, ConfigError> {
        let mut users = Users::default();
        if let Some(text) = self.secret("requirepass-file")? {
            // As an editor leaves it, or `echo`.
            let password = text.strip_suffix(b"\n").unwrap_or(&text);
            let password = password.strip_suffix(b"\r").unwrap_or(password);
            if password.contains(&b'\n') {
                return Err(self.error("requirepass-file", "has several lines; a password is one"));
            }
            let added = users.add(DEFAULT_USER.as_bytes(), password);
            added.map_err(|why| self.error("requirepass-file", format!("cannot be used: {why}")))?;
        }
        if let Some(text) = self.secret("auth-file")? {
            for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.is_empty() {
                    continue;
                }
                let wrong = |why: &dyn std::fmt::Display| {
                    self.error("auth-file", format!("line {} cannot be used: {why}", number + 1))
                };
                let colon = line.iter().position(|&byte| byte == b':');
                let colon = colon.filter(|&at| at > 0).ok_or_else(|| wrong(&"it is no USER:PASSWORD"))?;
                users.add(&line[..colon], &line[colon + 1..]).map_err(|why| wrong(&why))?;
            }
            if users.is_empty() {
                return Err(self.error("auth-file", "names no user"));
            }
        }
        Ok(users)
    }

    /// What a file holds; `None`: there is none.
    fn secret(&mut self, name: &'static str) -> Result<Option<Vec<u8>>, ConfigError> {
        let path = self.text(name).to_owned();
        self.note(name, path.clone(), "");
        if path == "off" {
            return Ok(None);
        }
        let mut text = Vec::new();
        let read =
            std::fs::File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
        match read {
            Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(self.error(name, "is longer than 128k")),
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(self.error(name, format!("cannot be read: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use std::io::Write;

    fn with(name: &str, text: &[u8]) -> Result<torc_net::users::Users, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        load(&[&format!("--{name}={}", file.path().display())])
            .map(|config| config.server.users)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_is_a_line_of_a_file() {
        for text in [&b"s3 cret:x"[..], b"s3 cret:x\n", b"s3 cret:x\r\n"] {
            let users = with("requirepass-file", text).unwrap();
            assert!(users.admit(b"default", b"s3 cret:x") && !users.admit(b"default", b"s3 cret:x\n"));
        }
        for (text, part) in
            [(&b""[..], "empty"), (b"\n", "empty"), (b"a\nb\n", "several lines"), (&[b'x'; 513], "512")]
        {
            let error = with("requirepass-file", text).unwrap_err();
            assert!(error.contains(part) && error.contains("--requirepass-file"), "{error}");
        }
    }

    #[test]
    fn users_have_lines_of_their_own() {
        let users = with("auth-file", b"app:one\n\nother:two:three\r\n").unwrap();
        assert!(users.admit(b"app", b"one") && users.admit(b"other", b"two:three"));
        assert!(!users.admit(b"default", b"one"));
        for (text, part) in
            [(&b"\n"[..], "no user"), (b"app\n", "line 1"), (b"a:b\n:x\n", "line 2"), (b"app:\n", "empty")]
        {
            let error = with("auth-file", text).unwrap_err();
            assert!(error.contains(part) && !error.contains("a:b"), "{error}");
        }
    }

    #[test]
    fn with_a_password_other_machines_may_be_served() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"secret").unwrap();
        let password = format!("--requirepass-file={}", file.path().display());
        let config = load(&["--listen=0.0.0.0:7171", &password]).unwrap();
        assert!(!format!("{:?}", config.entries).contains("secret"));
        assert!(!format!("{config:?}").contains("secret"));
        // The admin address asks for none.
        assert!(load(&["--admin=0.0.0.0:80", &password]).is_err());
        assert!(load(&["--requirepass-file=/no/such"]).unwrap_err().to_string().contains("cannot be read"));
    }
}
