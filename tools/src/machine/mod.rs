//! What this machine has and what this process may use of it: facts only, no judgement.
//!
//! Everything is read below a root directory, so that tests can lay out a machine of their own. A fact that
//! cannot be read is absent, never an error: a cache must start in a container that hides half of `/sys`.

pub(crate) mod topology;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use topology::{Node, Topology};

/// Facts that settings, banner and doctor go by.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    root: PathBuf,
    /// As `uname -r`.
    pub(crate) kernel: String,
    /// CPUs in this process's affinity mask, rising.
    pub(crate) cpus_allowed: Vec<usize>,
    /// CPUs' worth of time that the cgroup grants.
    pub(crate) cpu_quota: Option<f64>,
    /// The smallest of the machine's memory and the cgroups' limits, bytes.
    pub(crate) memory_bytes: u64,
    /// Which of them it was: `cgroup` or `machine`.
    pub(crate) memory_source: &'static str,
    /// Empty where the kernel tells of none.
    pub(crate) numa_nodes: Vec<Node>,
    /// Mode of transparent huge pages for private memory: `always`, `madvise`, `never`.
    pub(crate) thp: Option<String>,
    /// The same for shared memory (memfd).
    pub(crate) thp_shared: Option<String>,
    /// Reserved huge pages of the default size.
    pub(crate) hugetlb_pages: u64,
    /// Bytes that may be locked; `None`: no limit.
    pub(crate) memlock_bytes: Option<u64>,
    /// Open files: what is allowed now, and what it may be raised to.
    pub(crate) files: (u64, u64),
    pub(crate) somaxconn: Option<u64>,
    /// The sysctl: 0 open, 1 for members of a group, 2 closed; absent before Linux 6.6.
    pub(crate) io_uring_disabled: Option<u64>,
}

impl Machine {
    /// The machine that we run on.
    pub(crate) fn here() -> Machine {
        let nothing = Topology { cpus: vec![0], quota: None, memory_bytes_max: None, nodes: Vec::new() };
        let mut machine = Machine::read(Path::new("/"), Topology::discover().unwrap_or(nothing));
        machine.memlock_bytes = limit(libc::RLIMIT_MEMLOCK).and_then(|(soft, _)| finite(soft));
        machine.files = limit(libc::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        machine
    }

    /// A machine with these CPUs and limits, whose `/proc` and `/sys` lie below `root`.
    pub(crate) fn read(root: &Path, topology: Topology) -> Machine {
        let number = |path: &str| text(root, path).and_then(|text| text.parse().ok());
        let total = memory_total(root).unwrap_or(u64::MAX);
        let (memory_bytes, memory_source) = match topology.memory_bytes_max {
            Some(limit) if limit < total => (limit, "cgroup"),
            _ => (total, "machine"),
        };
        Machine {
            root: root.into(),
            kernel: text(root, "proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
            cpu_quota: topology.quota,
            cpus_allowed: topology.cpus,
            memory_bytes,
            memory_source,
            numa_nodes: topology.nodes,
            thp: chosen(root, "sys/kernel/mm/transparent_hugepage/enabled"),
            thp_shared: chosen(root, "sys/kernel/mm/transparent_hugepage/shmem_enabled"),
            hugetlb_pages: number("proc/sys/vm/nr_hugepages").unwrap_or(0),
            memlock_bytes: None,
            files: (1024, 1024),
            somaxconn: number("proc/sys/net/core/somaxconn"),
            io_uring_disabled: number("proc/sys/kernel/io_uring_disabled"),
        }
    }

    /// Whether segments are given huge pages: as shared memory where the kernel has them for that, else as private memory.
    pub(crate) fn has_huge_pages(&self) -> bool {
        let given = |mode: &Option<String>| {
            matches!(mode.as_deref(), Some("always" | "madvise" | "within_size" | "advise" | "force"))
        };
        given(&self.thp) || given(&self.thp_shared)
    }

    /// Names in a directory of `/sys` or `/dev`, sorted; none if it is not there.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        names(&self.root, directory)
    }
}

/// Descriptors that the program needs beside its connections: listeners, rings, log, admin.
pub(crate) const FILES_RESERVED: u64 = 256;

/// How many connections so many open files allow: one at least, as the program may need less than is reserved for it.
pub(crate) fn connections_for(files: u64) -> u64 {
    files.saturating_sub(FILES_RESERVED).max(1)
}

/// Raises the limit of open files as far as allowed, and says what it is then.
pub(crate) fn raise_file_limit() -> u64 {
    let Some((soft, hard)) = limit(libc::RLIMIT_NOFILE) else { return 1024 };
    let wanted = libc::rlimit { rlim_cur: hard, rlim_max: hard };
    // SAFETY: the pointer is to a live `rlimit` that the call only reads.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) } == 0;
    if done { hard } else { soft }
}

/// What this process has resident, as the kernel tells it.
pub(crate) struct Resident {
    /// Stays open: it is read many times a second.
    statm: Option<File>,
    page_bytes: u64,
}

impl Resident {
    pub(crate) fn of_this_process() -> Resident {
        // SAFETY: the call takes no pointer.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Resident {
            statm: File::open("/proc/self/statm").ok(),
            page_bytes: u64::try_from(page_bytes).unwrap_or(0),
        }
    }

    /// Resident bytes; 0 where `/proc` does not say.
    pub(crate) fn bytes(&self) -> u64 {
        let mut text = [0; 128];
        let count = self.statm.as_ref().and_then(|statm| statm.read_at(&mut text, 0).ok()).unwrap_or(0);
        let pages = std::str::from_utf8(&text[..count]).ok().and_then(|text| text.split_whitespace().nth(1));
        pages.and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * self.page_bytes
    }
}

/// Gives memory that the allocator keeps and nobody uses back to the kernel.
pub(crate) fn trim_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes no pointer, and may be made by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets the allocator keep less of what is given back to it: long buffers are mapped one by one, and go at once. That costs
/// page faults with every such buffer, so it is for a small memory, of which what is kept would be a large part.
pub(crate) fn keep_little_in_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls take no pointer, and may be made at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
    }
}

/// Soft and hard limit of a resource.
fn limit(resource: libc::__rlimit_resource_t) -> Option<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live `rlimit` that the call fills.
    let done = unsafe { libc::getrlimit(resource, &mut limit) } == 0;
    done.then_some((limit.rlim_cur, limit.rlim_max))
}

fn finite(limit: u64) -> Option<u64> {
    (limit != libc::RLIM_INFINITY).then_some(limit)
}

/// A file's text without its line end.
fn text(root: &Path, path: &str) -> Option<String> {
    std::fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned())
}

fn names(root: &Path, directory: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join(directory)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn memory_total(root: &Path) -> Option<u64> {
    kib_of(&text(root, "proc/meminfo")?, "MemTotal:")
}

/// The bytes behind a name in the tables of `/proc`, which are in KiB.
fn kib_of(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The word in brackets, as in `always [madvise] never`.
fn chosen(root: &Path, path: &str) -> Option<String> {
    let text = text(root, path)?;
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A machine with CPUs 0 to `cpus` - 1 and these files.
    pub(crate) fn machine_of(files: &[(&str, &str)], cpus: usize) -> Machine {
        machine_with(
            files,
            Topology { cpus: (0..cpus).collect(), quota: None, memory_bytes_max: None, nodes: Vec::new() },
        )
    }

    pub(crate) fn machine_with(files: &[(&str, &str)], topology: Topology) -> Machine {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            std::fs::write(path, text).expect("a file");
        }
        Machine::read(root.path(), topology)
    }

    #[test]
    fn a_bare_directory_is_a_machine_without_facts() {
        let machine = machine_of(&[], 1);
        assert_eq!(machine.memory_bytes, u64::MAX);
        assert_eq!(machine.kernel, "unknown");
        assert_eq!(machine.thp, None);
    }

    #[test]
    fn facts_are_read_from_proc_and_sys() {
        let machine = machine_of(
            &[
                ("proc/sys/kernel/osrelease", "6.12.0\n"),
                ("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n"),
                ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
                ("proc/sys/kernel/io_uring_disabled", "2\n"),
            ],
            2,
        );
        assert_eq!(machine.kernel, "6.12.0");
        assert_eq!((machine.memory_bytes, machine.memory_source), (2 << 20, "machine"));
        assert_eq!(machine.thp.as_deref(), Some("madvise"));
        assert_eq!(machine.io_uring_disabled, Some(2));
    }

    #[test]
    fn the_smaller_of_machine_and_cgroup_counts() {
        let meminfo = [("proc/meminfo", "MemTotal: 2048 kB\n")];
        for (limit, bytes, source) in [(1 << 20, 1 << 20, "cgroup"), (1 << 30, 2 << 20, "machine")] {
            let topology =
                Topology { cpus: vec![0], quota: None, memory_bytes_max: Some(limit), nodes: Vec::new() };
            let machine = machine_with(&meminfo, topology);
            assert_eq!((machine.memory_bytes, machine.memory_source), (bytes, source));
        }
    }

    #[test]
    fn this_machine_has_a_cpu_and_memory() {
        let machine = Machine::here();
        assert!(!machine.cpus_allowed.is_empty());
        assert!(machine.memory_bytes > 1 << 20 && machine.memory_bytes < u64::MAX);
        assert!(machine.files.0 > 0);
    }
}
