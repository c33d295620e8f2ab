//! From facts to advice: each fact found or not, what follows, how to cure it.

use super::rdma;
use super::uring::Trial;
use crate::config::value::{Size, show_cpus};
use crate::machine::{FILES_RESERVED, Machine, connections_for};
use std::io;
use torc_verbs::survey::Survey;

/// How a fact stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Found,
    /// There, but less than the server could use.
    Limited,
    Missing,
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Found => "found",
            State::Limited => "limited",
            State::Missing => "missing",
        }
    }
}

/// One line of the doctor's report.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) state: State,
    /// What there is.
    pub(crate) found: String,
    /// What it means for the server.
    pub(crate) follows: String,
    /// What to do; empty if nothing can or need be done.
    pub(crate) cure: String,
}

impl Check {
    pub(super) fn new(name: &str, state: State, found: impl Into<String>) -> Check {
        let (follows, cure) = (String::new(), String::new());
        Check { name: name.into(), state, found: found.into(), follows, cure }
    }

    pub(super) fn follows(self, follows: impl Into<String>) -> Check {
        Check { follows: follows.into(), ..self }
    }

    pub(super) fn cure(self, cure: impl Into<String>) -> Check {
        Check { cure: cure.into(), ..self }
    }
}

/// All checks, in the order of their weight.
pub(crate) fn all(machine: &Machine, trials: &[Trial], survey: &Survey) -> Vec<Check> {
    let mut checks = vec![kernel(machine)];
    checks.extend(trials.iter().map(|trial| uring(machine, trial)));
    checks.extend([
        cpus(machine),
        quota(machine),
        numa(machine),
        memory(machine),
        memlock(machine),
        transparent_huge_pages(machine),
        reserved_huge_pages(machine),
        files(machine),
        backlog(machine),
        shared_memory(),
    ]);
    checks.extend(rdma::checks(survey));
    checks.push(persistent_memory(machine));
    checks
}

fn shared_memory() -> Check {
    match torc_net::server::shared_memory_refusal() {
        None => Check::new("shared memory", State::Found, "memfd_create with seals")
            .follows("--shared-memory can be used"),
        Some(error) => Check::new("shared memory", State::Missing, format!("refused: {error}"))
            .follows("--shared-memory cannot be used; clients on this host go over sockets")
            .cure("Linux 5.1 or newer, and a seccomp profile that allows memfd_create"),
    }
}

/// The first kernel with everything that the uring transport uses.
const KERNEL_MIN: (u32, u32) = (6, 1);

fn kernel(machine: &Machine) -> Check {
    let mut numbers = machine.kernel.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let new_enough = version >= KERNEL_MIN;
    let state = if new_enough { State::Found } else { State::Limited };
    Check::new("kernel", state, format!("Linux {}", machine.kernel))
        .follows("the uring transport needs Linux 6.1; below that, epoll serves")
        .cure("a newer kernel")
}

fn uring(machine: &Machine, trial: &Trial) -> Check {
    match &trial.result {
        Ok(()) => Check::new(trial.name, State::Found, trial.used_for),
        Err(error) => {
            let follows = if trial.needed {
                "the epoll transport serves instead: same protocols, more CPU a request"
            } else {
                "the server goes without it"
            };
            Check::new(
                trial.name,
                State::Missing,
                format!("refused: {error}; it would be {}", trial.used_for),
            )
            .follows(follows)
            .cure(uring_cure(machine, trial, error))
        }
    }
}

fn uring_cure(machine: &Machine, trial: &Trial, error: &io::Error) -> String {
    match (machine.io_uring_disabled, error.raw_os_error()) {
        (Some(2), _) => "sysctl -w kernel.io_uring_disabled=0".into(),
        (Some(1), Some(libc::EPERM)) => {
            "sysctl -w kernel.io_uring_disabled=0, or put the user in the group of kernel.io_uring_group".into()
        }
        (_, Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) => {
            "in a container: a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register"
                .into()
        }
        (_, Some(libc::ENOMEM)) => "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)".into(),
        _ => format!("Linux {} or newer", trial.since),
    }
}

fn cpus(machine: &Machine) -> Check {
    let count = machine.cpus_allowed.len();
    Check::new("CPUs", State::Found, format!("{count}: {}", show_cpus(&machine.cpus_allowed)))
        .follows("one shard for each, unless --shards or --cpus say otherwise")
}

fn quota(machine: &Machine) -> Check {
    match machine.cpu_quota {
        None => Check::new("CPU quota", State::Found, "none"),
        Some(quota) => {
            let whole = quota >= machine.cpus_allowed.len() as f64;
            let state = if whole { State::Found } else { State::Limited };
            Check::new("CPU quota", state, format!("{quota:.2} CPUs"))
                .follows("one shard for each whole CPU; a thread that uses its share up is stopped for the rest of the period, which shows as tail latency")
                .cure("give whole CPUs by a cpuset instead of a quota")
        }
    }
}

fn numa(machine: &Machine) -> Check {
    let nodes = &machine.numa_nodes;
    if nodes.len() < 2 {
        return Check::new("NUMA", State::Found, "one node");
    }
    let shown: Vec<String> =
        nodes.iter().map(|node| format!("node {}: CPUs {}", node.number, show_cpus(&node.cpus))).collect();
    Check::new("NUMA", State::Limited, shown.join(", "))
        .follows("a shard's memory is touched first by its pinned thread, so it lies on that thread's node; the network card's queues may not")
        .cure("--cpus with the CPUs of the network card's node")
}

fn memory(machine: &Machine) -> Check {
    let shown = Size(machine.memory_bytes >> 20 << 20);
    Check::new("memory", State::Found, format!("{shown}, the {}'s", machine.memory_source))
        .follows("--memory is a quarter of it by default, at most 1g")
}

/// Enough for one shard's ring and receive buffers.
const MEMLOCK_BYTES_MIN: u64 = 8 << 20;

fn memlock(machine: &Machine) -> Check {
    match machine.memlock_bytes {
        None => Check::new("locked memory", State::Found, "no limit"),
        Some(bytes) => {
            let state = if bytes >= MEMLOCK_BYTES_MIN { State::Found } else { State::Limited };
            Check::new("locked memory", state, format!("limit of {}", Size(bytes)))
                .follows(
                    "rings count against it on kernels before 5.12; memory registered for RDMA will on all",
                )
                .cure("ulimit -l unlimited, LimitMEMLOCK=infinity in the unit")
        }
    }
}

fn transparent_huge_pages(machine: &Machine) -> Check {
    const NAME: &str = "huge pages (transparent)";
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "not there".into());
    let found = format!("private {}, shared {}", mode(&machine.thp), mode(&machine.thp_shared));
    let state = if machine.has_huge_pages() { State::Found } else { State::Missing };
    Check::new(NAME, state, found)
        .follows("segments and index on small pages: more TLB misses a request")
        .cure("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
}

fn reserved_huge_pages(machine: &Machine) -> Check {
    let found = match machine.hugetlb_pages {
        0 => "none reserved; transparent ones do".into(),
        pages => format!("{pages} pages, not used: transparent ones do"),
    };
    Check::new("huge pages (reserved)", State::Found, found)
}

const CONNECTIONS_DEFAULT: u64 = 10_000;

fn files(machine: &Machine) -> Check {
    let (soft, hard) = machine.files;
    let state = if hard >= CONNECTIONS_DEFAULT + FILES_RESERVED { State::Found } else { State::Limited };
    Check::new("open files", state, format!("{soft}, can be raised to {hard}"))
        .follows(format!(
            "--max-connections can be at most {}, and is lowered to that by default",
            connections_for(hard)
        ))
        .cure("ulimit -n 65536, LimitNOFILE=65536 in the unit")
}

const BACKLOG_MIN: u64 = 1024;

fn backlog(machine: &Machine) -> Check {
    match machine.somaxconn {
        None => Check::new("listen backlog", State::Limited, "cannot be read"),
        Some(backlog) => {
            let state = if backlog >= BACKLOG_MIN { State::Found } else { State::Limited };
            Check::new("listen backlog", state, format!("net.core.somaxconn is {backlog}"))
                .follows("when many clients connect at once, some wait a second for their second try")
                .cure("sysctl -w net.core.somaxconn=4096")
        }
    }
}

fn persistent_memory(machine: &Machine) -> Check {
    let regions: Vec<String> = machine
        .names("dev")
        .into_iter()
        .filter(|name| ["pmem", "dax"].iter().any(|kind| name.starts_with(kind)))
        .collect();
    if regions.is_empty() {
        return Check::new("persistent memory", State::Missing, "none")
            .follows("a second tier (--tier) lies on a file, which is read and written by system calls");
    }
    Check::new("persistent memory", State::Found, regions.join(", "))
        .follows("--tier can be mapped: give it a file there, on ext4 or xfs mounted with -o dax")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::{machine_of, machine_with};
    use crate::machine::topology::Topology;

    fn trial(result: io::Result<()>) -> Trial {
        Trial { name: "io_uring", used_for: "serving", since: "5.1", needed: true, result }
    }

    fn no_rdma() -> Survey {
        Survey { library: Ok(()), memlock: None, devices: Vec::new() }
    }

    fn named<'c>(checks: &'c [Check], name: &str) -> &'c Check {
        checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"))
    }

    #[test]
    fn whatever_is_not_found_says_what_follows() {
        let machine = machine_of(&[], 1);
        let checks = all(&machine, &[trial(Err(io::Error::from_raw_os_error(libc::EPERM)))], &no_rdma());
        for check in checks.iter().filter(|check| check.state == State::Missing) {
            assert!(!check.follows.is_empty(), "{}", check.name);
        }
    }

    #[test]
    fn the_cure_for_a_refused_ring_depends_on_who_refused() {
        let refused = |errno| all_with(errno, &[]);
        assert!(refused(libc::EPERM).contains("seccomp"));
        assert!(refused(libc::ENOSYS).contains("seccomp"));
        assert!(refused(libc::EINVAL).contains("Linux 5.1"));
        let closed = [("proc/sys/kernel/io_uring_disabled", "2")];
        assert!(all_with(libc::EPERM, &closed).contains("io_uring_disabled=0"));
        let members = [("proc/sys/kernel/io_uring_disabled", "1")];
        assert!(all_with(libc::EPERM, &members).contains("io_uring_group"));
    }

    fn all_with(errno: i32, files: &[(&str, &str)]) -> String {
        let machine = machine_of(files, 1);
        let checks = all(&machine, &[trial(Err(io::Error::from_raw_os_error(errno)))], &no_rdma());
        named(&checks, "io_uring").cure.clone()
    }

    #[test]
    fn a_quota_below_the_cpus_is_a_limit() {
        for (cpus, state) in [(vec![0, 1], State::Limited), (vec![0], State::Found)] {
            let topology = Topology { cpus, quota: Some(1.5), memory_bytes_max: None, nodes: Vec::new() };
            assert_eq!(named(&all(&machine_with(&[], topology), &[], &no_rdma()), "CPU quota").state, state);
        }
    }

    /// Once a machine with huge pages for private memory alone was a limited one here, and "asked for" in the banner.
    #[test]
    fn huge_pages_are_there_if_one_kind_of_memory_has_them() {
        const PRIVATE: &str = "sys/kernel/mm/transparent_hugepage/enabled";
        const SHARED: &str = "sys/kernel/mm/transparent_hugepage/shmem_enabled";
        for (private, shared, state) in [
            ("[madvise]", "[never]", State::Found),
            ("[never]", "[advise]", State::Found),
            ("[always]", "[always]", State::Found),
            ("[never]", "[never]", State::Missing),
        ] {
            let machine = machine_of(&[(PRIVATE, private), (SHARED, shared)], 1);
            assert_eq!(machine.has_huge_pages(), state == State::Found);
            assert_eq!(named(&all(&machine, &[], &no_rdma()), "huge pages (transparent)").state, state);
        }
    }

    #[test]
    fn an_old_kernel_is_named() {
        let old = machine_of(&[("proc/sys/kernel/osrelease", "5.15.0-91-generic")], 1);
        assert_eq!(named(&all(&old, &[], &no_rdma()), "kernel").state, State::Limited);
        let new = machine_of(&[("proc/sys/kernel/osrelease", "6.12.0")], 1);
        assert_eq!(named(&all(&new, &[], &no_rdma()), "kernel").state, State::Found);
    }
}
