//! An installed redis-server to compare with.
#![allow(dead_code, unreachable_pub, reason = "every test binary has its own copy and uses another part")]

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server of this test alone, on a Unix socket in a folder of its own.
pub struct Redis {
    child: Child,
    folder: PathBuf,
}

impl Redis {
    /// `None` if there is no redis-server of the release whose words we speak.
    pub fn start(test: &str) -> Option<Redis> {
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

    pub fn connect(&self) -> UnixStream {
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
