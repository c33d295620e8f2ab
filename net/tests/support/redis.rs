//! Debian's redis-server, for tests that compare with it.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use torc_proto::resp::reply::{Parsed, parse};

/// A server of this test alone, on a Unix socket in a folder of its own.
pub(crate) struct Redis {
    child: Child,
    folder: PathBuf,
}

impl Redis {
    /// `None` if there is no redis-server of the release whose words we speak.
    pub(crate) fn start(test: &str) -> Option<Redis> {
        let version = Command::new("redis-server").arg("--version").output().ok()?;
        if !String::from_utf8_lossy(&version.stdout).contains("v=7.0.") {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("torc-resp-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(folder.join("socket"))
            .arg("--dir")
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        Some(Redis { child, folder })
    }

    pub(crate) fn connect(&self) -> UnixStream {
        for _ in 0..500 {
            if let Ok(stream) = UnixStream::connect(self.folder.join("socket")) {
                stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
                return stream;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A read with a time-out is not restarted when the thread is stopped for a moment (signal(7)).
pub(crate) fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The frames before the first that has `marker` in it, escaped. What comes behind it is lost.
pub(crate) fn frames_until(stream: &mut impl Read, marker: &str) -> Vec<String> {
    next_frames_until(stream, marker, &mut Vec::new())
}

/// The same; `input` keeps what comes behind it for the next time.
pub(crate) fn next_frames_until(stream: &mut impl Read, marker: &str, input: &mut Vec<u8>) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        match parse(input) {
            Parsed::Complete { consumed, .. } => {
                let frame: Vec<u8> = input.drain(..consumed).collect();
                let frame = frame.escape_ascii().to_string();
                if frame.contains(marker) {
                    return frames;
                }
                frames.push(frame);
            }
            _ => {
                let mut more = [0; 64 << 10];
                let count = read_some(stream, &mut more).expect("an answer");
                assert!(count > 0, "closed after {}", input.escape_ascii());
                input.extend_from_slice(&more[..count]);
            }
        }
    }
}
