//! memcached itself, to compare with.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The release whose protocol this is.
pub const VERSION: &str = "1.6.18";
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs until it is dropped.
pub struct Memcached {
    process: Child,
    socket: PathBuf,
}

impl Memcached {
    /// On a socket of that name. `None` if the release to compare with is not installed.
    pub fn start(name: &str) -> Option<Memcached> {
        let version = Command::new("memcached").arg("--version").output().ok()?;
        if String::from_utf8_lossy(&version.stdout).trim() != format!("memcached {VERSION}") {
            return None;
        }
        let socket = std::env::temp_dir().join(format!("torc-memcached-{}-{name}.sock", std::process::id()));
        let process = Command::new("memcached")
            .arg("-s")
            .arg(&socket)
            // Threads that hold an item for a moment make a step of a counter a new item.
            .args(["-m", "64", "-t", "1", "-u", "root", "-o", "no_lru_maintainer,no_lru_crawler"])
            .stderr(Stdio::null())
            .spawn()
            .expect("memcached starts");
        Some(Memcached { process, socket })
    }

    pub fn connect(&self) -> UnixStream {
        let begun = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
                    return stream;
                }
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{}: {error}", self.socket.display()),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
