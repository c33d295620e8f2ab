//! What a device counts itself of trouble on its wire: packets that were sent again, receives that were missing, requests that failed.
//! The kernel shows each count as a file of the port; which of them there are is the driver's affair.

use super::lock;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Folders of a port, in the order in which a count is looked for.
const FOLDERS: [&str; 2] = ["hw_counters", "counters"];

/// The counts that are shown, by the names of their files; the drivers do not agree on them.
pub const DEVICE_EVENTS: [&str; 24] = [
    // mlx5: a request was sent again as no answer came in time, as the peer missed one before it, or as it had no receive.
    "local_ack_timeout_err",
    "packet_seq_err",
    "implied_nak_seq_err",
    "rnr_nak_retry_err",
    "req_transport_retries_exceeded",
    "req_rnr_retries_exceeded",
    "req_remote_access_errors",
    "req_cqe_error",
    "roce_slow_restart",
    // mlx5: a peer's request came twice, or not in its order, or found no receive.
    "out_of_sequence",
    "out_of_buffer",
    "resp_remote_access_errors",
    "resp_cqe_error",
    // Both.
    "duplicate_request",
    // SoftRoCE.
    "completer_retry_err",
    "retry_exceeded_err",
    "rcvd_rnr_err",
    "send_rnr_err",
    "retry_rnr_exceeded_err",
    "rcvd_seq_err",
    "out_of_seq_request",
    "send_err",
    // Any, of the port.
    "link_downed",
    "port_rcv_errors",
];

/// A count that the device does not have.
const NONE: u64 = u64::MAX;

/// The counts as they were last read, by [`DEVICE_EVENTS`]. One thread reads the files, any thread the counts.
#[derive(Debug)]
pub(crate) struct DeviceEvents {
    files: Mutex<Vec<(usize, PathBuf)>>,
    counts: [AtomicU64; DEVICE_EVENTS.len()],
}

impl Default for DeviceEvents {
    fn default() -> DeviceEvents {
        DeviceEvents {
            files: Mutex::default(),
            counts: [const { AtomicU64::new(NONE) }; DEVICE_EVENTS.len()],
        }
    }
}

impl DeviceEvents {
    /// A device is used: its files are looked for, and read. `root` is `/`, but in tests.
    pub(super) fn begin(&self, root: &Path, device: &str, port: u8) {
        self.end();
        let port = root.join("sys/class/infiniband").join(device).join("ports").join(port.to_string());
        let find = |name: &str| {
            let paths = FOLDERS.iter().map(|folder| port.join(folder).join(name));
            paths.into_iter().find(|path| count(path).is_some())
        };
        let found = DEVICE_EVENTS.iter().enumerate().filter_map(|(event, name)| Some((event, find(name)?)));
        *lock(&self.files) = found.collect();
        self.look();
    }

    /// Reads those that there are. One that cannot be read stays what it was.
    pub(super) fn look(&self) {
        for (event, path) in &*lock(&self.files) {
            if let Some(count) = count(path) {
                // Relaxed: counts order nothing.
                self.counts[*event].store(count, Ordering::Relaxed);
            }
        }
    }

    /// The device is not used any more.
    pub(super) fn end(&self) {
        lock(&self.files).clear();
        self.counts.iter().for_each(|count| count.store(NONE, Ordering::Relaxed));
    }

    /// Names and counts of those that the device has.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = DEVICE_EVENTS.iter().zip(&self.counts);
        let all = all.map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count != NONE)
    }
}

/// The number in a file, if there is one: some drivers have files that cannot be read.
fn count(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder like the kernel's, removed in the end.
    struct Root(PathBuf);

    impl Root {
        fn new() -> Root {
            let root = std::env::temp_dir().join(format!("torc-device-events-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            Root(root)
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.join("sys/class/infiniband/rxe_a/ports/1").join(file);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn counts_are_those_of_the_files_that_there_are() {
        let (root, events) = (Root::new(), DeviceEvents::default());
        let shown = |events: &DeviceEvents| events.iter().collect::<Vec<_>>();
        events.begin(&root.0, "rxe_a", 1);
        assert_eq!(shown(&events), [], "a device without files");
        root.write("hw_counters/rcvd_rnr_err", "3\n");
        root.write("hw_counters/sent_pkts", "1000\n");
        root.write("hw_counters/link_downed", "1\n");
        root.write("counters/link_downed", "70\n");
        root.write("counters/port_rcv_errors", "N/A (no PMA)\n");
        root.write("counters/out_of_buffer", "18446744073709551616\n");
        events.begin(&root.0, "rxe_a", 2);
        assert_eq!(shown(&events), [], "those of another port");
        events.begin(&root.0, "rxe_a", 1);
        assert_eq!(shown(&events), [("rcvd_rnr_err", 3), ("link_downed", 1)]);
        root.write("hw_counters/rcvd_rnr_err", "5\n");
        root.write("hw_counters/link_downed", "");
        assert_eq!(shown(&events), [("rcvd_rnr_err", 3), ("link_downed", 1)], "nobody has looked");
        events.look();
        assert_eq!(shown(&events), [("rcvd_rnr_err", 5), ("link_downed", 1)]);
        events.end();
        events.look();
        assert_eq!(shown(&events), []);
    }

    #[test]
    fn every_event_has_a_name_of_its_own_that_is_a_label() {
        for (at, name) in DEVICE_EVENTS.iter().enumerate() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(!DEVICE_EVENTS[..at].contains(name), "{name} twice");
        }
    }
}
