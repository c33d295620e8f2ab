//! What this process may use of the machine: CPUs, quota, NUMA nodes.
//!
//! | what | read from |
//! |---|---|
//! | CPUs | `sched_getaffinity`, which knows taskset and the cgroups' cpusets |
//! | quota | cgroup v2 `cpu.max` up the tree, or v1 `cpu.cfs_quota_us` / `cpu.cfs_period_us` |
//! | memory | cgroup v2 `memory.max` up the tree, or v1 `memory.limit_in_bytes` |
//! | nodes | `/sys/devices/system/node/node*/cpulist` |
//!
//! Files are read below a root, so that tests can bring their own. What cannot be read is not limited.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use torc_net::pin;

/// CPUs and limits of this process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Topology {
    /// CPUs that may be used, ascending.
    pub(crate) cpus: Vec<usize>,
    /// CPUs' worth of time that the cgroup allows, if it limits it.
    pub(crate) quota: Option<f64>,
    /// The cgroup's memory limit.
    pub(crate) memory_bytes_max: Option<u64>,
    /// CPUs of each NUMA node.
    pub(crate) nodes: Vec<Node>,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) cpus: Vec<usize>,
}

impl Topology {
    /// Reads this machine.
    ///
    /// # Errors
    /// The kernel does not say which CPUs are allowed.
    pub(crate) fn discover() -> io::Result<Topology> {
        Ok(Topology::below(Path::new("/"), pin::allowed()?))
    }

    fn below(root: &Path, cpus: Vec<usize>) -> Topology {
        let groups = Groups::of_self(root);
        Topology {
            cpus,
            quota: groups.quota(),
            memory_bytes_max: groups.memory_bytes_max(),
            nodes: nodes(&root.join("sys/devices/system/node")),
        }
    }
}

/// Most levels of cgroups that are looked at.
const LEVELS_MAX: usize = 32;

/// Folders of this process' cgroups, from its own upwards.
struct Groups {
    unified: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
    memory: Vec<PathBuf>,
}

impl Groups {
    /// From `/proc/self/cgroup`: `0::/path` (v2) or `4:cpu,cpuacct:/path` (v1).
    fn of_self(root: &Path) -> Groups {
        let mount = root.join("sys/fs/cgroup");
        let mut groups = Groups { unified: Vec::new(), cpu: Vec::new(), memory: Vec::new() };
        for line in fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default().lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if controllers.is_empty() {
                groups.unified = levels(&mount, path);
            }
            for controller in controllers.split(',') {
                match controller {
                    "cpu" => groups.cpu = levels(&mount.join("cpu"), path),
                    "memory" => groups.memory = levels(&mount.join("memory"), path),
                    _ => {}
                }
            }
        }
        groups
    }

    fn quota(&self) -> Option<f64> {
        let unified = self.unified.iter().filter_map(|group| {
            let text = fs::read_to_string(group.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            ratio(quota.parse().ok()?, period.parse().ok()?)
        });
        let first = self.cpu.iter().filter_map(|group| {
            ratio(number(&group.join("cpu.cfs_quota_us"))?, number(&group.join("cpu.cfs_period_us"))?)
        });
        unified.chain(first).min_by(f64::total_cmp)
    }

    fn memory_bytes_max(&self) -> Option<u64> {
        let unified = self.unified.iter().filter_map(|group| number(&group.join("memory.max")));
        let first = self.memory.iter().filter_map(|group| number(&group.join("memory.limit_in_bytes")));
        // v1 writes "no limit" as a number near 2^63.
        unified.chain(first).filter(|&bytes| bytes < i64::MAX / 2).map(|bytes| bytes as u64).min()
    }
}

/// The folder of a group and of each group around it.
fn levels(mount: &Path, path: &str) -> Vec<PathBuf> {
    let own = mount.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|level| level.starts_with(mount))
        .take(LEVELS_MAX)
        .map(Path::to_owned)
        .collect()
}

/// A number that is not negative (v1 writes "no limit" as -1).
fn number(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|&number| number >= 0)
}

fn ratio(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

fn nodes(folder: &Path) -> Vec<Node> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut nodes: Vec<Node> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            let cpus = parse_cpu_list(fs::read_to_string(entry.path().join("cpulist")).ok()?.trim())?;
            Some(Node { number, cpus })
        })
        .collect();
    nodes.sort_by_key(|node| node.number);
    nodes
}

/// CPUs written as the kernel writes them: `0-3,8`.
pub(crate) fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last < first || last >= libc::CPU_SETSIZE as usize {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Root {
            let root = std::env::temp_dir().join(format!("torc-topology-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Root(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_narrowest_group_of_the_tree_counts() {
        let root = Root::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/outer/inner\n"),
                ("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/outer/cpu.max", "250000 100000\n"),
                ("sys/fs/cgroup/outer/inner/memory.max", "1048576\n"),
                ("sys/fs/cgroup/outer/memory.max", "max\n"),
            ],
        );
        let topology = Topology::below(&root.0, vec![0, 1, 2, 3]);
        assert_eq!(topology.quota, Some(2.5));
        assert_eq!(topology.memory_bytes_max, Some(1_048_576));
    }

    #[test]
    fn version_one_groups_are_read() {
        let root = Root::new(
            "v1",
            &[
                ("proc/self/cgroup", "4:cpu,cpuacct:/a\n3:memory:/a\n"),
                ("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "50000\n"),
                ("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let topology = Topology::below(&root.0, vec![5]);
        assert_eq!((topology.quota, topology.memory_bytes_max), (Some(0.5), None));
    }

    #[test]
    fn nodes_are_listed_with_their_cpus() {
        let root = Root::new(
            "numa",
            &[
                ("sys/devices/system/node/node1/cpulist", "2-3\n"),
                ("sys/devices/system/node/node0/cpulist", "0-1\n"),
                ("sys/devices/system/node/possible", "0-1\n"),
            ],
        );
        let topology = Topology::below(&root.0, vec![0, 1, 2, 3]);
        let node = |number, cpus: [usize; 2]| Node { number, cpus: cpus.into() };
        assert_eq!(topology.nodes, [node(0, [0, 1]), node(1, [2, 3])]);
    }

    #[test]
    fn nothing_to_read_is_no_limit() {
        let topology = Topology::below(Path::new("/nowhere"), vec![0, 1]);
        assert_eq!((topology.quota, topology.memory_bytes_max), (None, None));
    }

    #[test]
    fn cpu_lists_are_as_the_kernel_writes_them() {
        assert_eq!(parse_cpu_list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list(""), Some(vec![]));
        for wrong in ["3-1", "a", "0-99999999", "-1"] {
            assert_eq!(parse_cpu_list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn this_machine_has_a_cpu() {
        assert!(!Topology::discover().unwrap().cpus.is_empty());
    }
}
