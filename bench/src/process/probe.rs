//! What a process has used, from `/proc/PID`.
//!
//! CPU time is the sum of `/proc/PID/task/*/schedstat`: nanoseconds on a core, and nanoseconds
//! ready but waiting for one (run-queue delay, which belongs beside every tail latency).

use std::{fs, io};

use serde::Serialize;

use crate::error::BenchError;

/// A process to watch.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    folder: String,
}

/// Totals since a process began, or, by [`Sample::since`], over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Time on a core, all threads.
    pub on_cpu_ns: u64,
    /// Time ready to run without a core, all threads.
    pub run_delay_ns: u64,
    /// Resident set at the later moment.
    pub rss_bytes: u64,
    /// Bytes sent to the storage layer, or made dirty in the page cache (`write_bytes` of `/proc/PID/io`).
    pub written_bytes: u64,
}

impl Sample {
    /// The difference to an earlier sample; the resident set stays the later one.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            on_cpu_ns: self.on_cpu_ns.saturating_sub(earlier.on_cpu_ns),
            run_delay_ns: self.run_delay_ns.saturating_sub(earlier.run_delay_ns),
            rss_bytes: self.rss_bytes,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

impl Probe {
    /// Watches process `pid`; fails at once if it cannot be read.
    pub(crate) fn new(pid: u32) -> Result<Self, BenchError> {
        let probe = Self { folder: format!("/proc/{pid}") };
        probe.sample()?;
        Ok(probe)
    }

    pub(crate) fn this_process() -> Self {
        Self { folder: "/proc/self".into() }
    }

    pub(crate) fn sample(&self) -> Result<Sample, BenchError> {
        self.read().map_err(BenchError::io(format!("reading {}", self.folder)))
    }

    fn read(&self) -> io::Result<Sample> {
        let mut sample = Sample::default();
        for task in fs::read_dir(format!("{}/task", self.folder))? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let (on_cpu_ns, run_delay_ns) = schedstat(&text).ok_or_else(unreadable)?;
            sample.on_cpu_ns += on_cpu_ns;
            sample.run_delay_ns += run_delay_ns;
        }
        let status = fs::read_to_string(format!("{}/status", self.folder))?;
        sample.rss_bytes = status_bytes(&status, "VmRSS:").unwrap_or(0);
        // Only its owner may read what a process has written, and some kernels do not count it.
        let io = fs::read_to_string(format!("{}/io", self.folder)).unwrap_or_default();
        sample.written_bytes = written_bytes(&io).unwrap_or(0);
        Ok(sample)
    }

    /// The process's own folder in `/proc`.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not in the kernel's format")
}

/// `on_cpu_ns run_delay_ns timeslices`.
fn schedstat(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.split_ascii_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The line `write_bytes: 123` of `/proc/PID/io`.
fn written_bytes(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// A line `NAME   123 kB` of `/proc/PID/status` or `smaps_rollup`, in bytes.
pub(crate) fn status_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_formats() {
        assert_eq!(schedstat("805506 82263 2\n"), Some((805_506, 82_263)));
        assert_eq!(schedstat("805506\n"), None);
        let status = "Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t  12 kB\nThreads:\t1\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
        let io = "wchar: 5\nread_bytes: 7\nwrite_bytes: 8192\ncancelled_write_bytes: 9\n";
        assert_eq!(written_bytes(io), Some(8192));
        assert_eq!(written_bytes(""), None);
    }

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let probe = Probe::new(std::process::id()).unwrap();
        // The threads of other tests end meanwhile, and take along what they have used.
        let used_of_some = (0..1000).any(|_| {
            let before = probe.sample().unwrap();
            let sum = (0..3_000_000u64).fold(0, |sum, i| std::hint::black_box(sum ^ i));
            std::hint::black_box(sum);
            let used = probe.sample().unwrap().since(&before);
            assert!(used.rss_bytes > 100_000);
            used.on_cpu_ns > 0
        });
        assert!(used_of_some);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Probe::new(u32::MAX).is_err());
    }
}
