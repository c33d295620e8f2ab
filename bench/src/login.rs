//! What a client proves itself by, as flags name it: for a server that asks for a password.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
};

use clap::Args;
use torc_proto::native::{Answer, FrameLimits, Hello, Op, Options, ParseError, Status, VERSION, frame};

use crate::{error::BenchError, protocol::Protocol};

/// Who the client is.
#[derive(Args, Clone, Debug)]
pub struct LoginArgs {
    /// A file with the password, for a server that asks for one
    #[arg(long, value_name = "PATH", env = "TORC_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// Whose password it is
    #[arg(long, value_name = "NAME", default_value = "default", env = "TORC_USER")]
    pub user: String,
}

/// Longest password that a server takes, bytes, and a line end.
const FILE_BYTES_MAX: u64 = 514;

impl LoginArgs {
    /// User and password, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, in words.
    pub fn read(&self) -> Result<Option<(String, Vec<u8>)>, String> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let mut password = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut password))
            .map_err(|error| format!("--password-file: {}: {error}", path.display()))?;
        while let Some(b'\n' | b'\r') = password.last() {
            password.pop();
        }
        Ok(Some((self.user.clone(), password)))
    }

    pub(crate) fn login(&self, protocol: Protocol) -> Result<Option<Login>, BenchError> {
        let read = self.read().map_err(BenchError::Invalid)?;
        Ok(read.map(|(user, password)| Login { protocol, user, password }))
    }
}

/// User and password in the words of a protocol.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    protocol: Protocol,
    user: String,
    password: Vec<u8>,
}

/// The password does not belong into a log.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.user)
    }
}

impl Login {
    /// Says it on a new connection that blocks, and hears that it was right.
    pub(crate) fn say(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        stream.write_all(&self.words())?;
        let mut heard = Vec::new();
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte)?;
            heard.push(byte[0]);
            match self.is_right(&heard) {
                Some(true) => return Ok(()),
                Some(false) => {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a wrong password"));
                }
                None => {}
            }
        }
    }

    fn words(&self) -> Vec<u8> {
        let (user, password) = (self.user.as_bytes(), &self.password[..]);
        let mut out = Vec::new();
        match self.protocol {
            Protocol::Resp => torc_proto::resp::compose::request(&mut out, &[b"AUTH", user, password]),
            Protocol::Memcache => {
                let value = [user, b" ", password].concat();
                out.extend_from_slice(format!("set auth 0 0 {}\r\n", value.len()).as_bytes());
                out.extend_from_slice(&value);
                out.extend_from_slice(b"\r\n");
            }
            Protocol::Native => {
                let mut value = Vec::new();
                Hello { version_min: VERSION, version_max: VERSION, ..Hello::default() }.compose(&mut value);
                Hello::compose_credentials(user, password, &mut value);
                // User and password are far from what a frame can hold.
                let _ = frame::compose_request(&mut out, Op::Hello, 0, 0, &Options::NONE, b"", &value);
            }
        }
        out
    }

    /// Whether the password was right; `None`: that is not told yet.
    fn is_right(&self, heard: &[u8]) -> Option<bool> {
        match self.protocol {
            Protocol::Native => match Answer::parse(heard, &FrameLimits { value_bytes_max: 1 << 16 }) {
                Ok((answer, _)) => Some(answer.header.status() == Status::Ok),
                Err(ParseError::Incomplete { .. }) => None,
                Err(ParseError::Invalid(_)) => Some(false),
            },
            _ => heard.ends_with(b"\r\n").then_some(matches!(heard, b"+OK\r\n" | b"STORED\r\n")),
        }
    }
}
