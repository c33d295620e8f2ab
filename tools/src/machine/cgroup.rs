//! Limits of the control groups that this process is in, of both versions.
//!
//! A limit holds for everything below it, so the smallest on the way from our group up to the root counts. In
//! a container the path in `/proc/self/cgroup` may not be visible below `/sys/fs/cgroup`; then the mount's
//! root is our own group, which the walk upwards reaches anyway.

use super::text;
use std::path::Path;

/// A memory limit above this is a way to write "none" (version 1 writes 2^63 rounded to pages).
const LIMIT_NONE: u64 = 1 << 60;

/// The smallest memory limit, bytes.
pub(super) fn memory_limit(root: &Path) -> Option<u64> {
    let limits = |controller, file| {
        groups(root, controller)
            .into_iter()
            .filter_map(move |group| text(root, &format!("{group}/{file}"))?.parse().ok())
    };
    limits(None, "memory.max")
        .chain(limits(Some("memory"), "memory.limit_in_bytes"))
        .filter(|limit: &u64| *limit < LIMIT_NONE)
        .min()
}

/// The smallest share of CPU time, in CPUs.
pub(super) fn cpu_quota(root: &Path) -> Option<f64> {
    let unified = groups(root, None).into_iter().filter_map(|group| {
        let text = text(root, &format!("{group}/cpu.max"))?;
        let (quota, period) = text.split_once(' ')?;
        share(quota, period)
    });
    let legacy = groups(root, Some("cpu")).into_iter().filter_map(|group| {
        let quota = text(root, &format!("{group}/cpu.cfs_quota_us"))?;
        share(&quota, &text(root, &format!("{group}/cpu.cfs_period_us"))?)
    });
    unified.chain(legacy).min_by(f64::total_cmp)
}

/// `max` and `-1` are no numbers of microseconds: no limit.
fn share(quota: &str, period: &str) -> Option<f64> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
    Some(quota as f64 / period as f64)
}

/// Our group and all above it, as paths below the root directory; `None` names version 2.
fn groups(root: &Path, controller: Option<&str>) -> Vec<String> {
    let Some(list) = text(root, "proc/self/cgroup") else { return Vec::new() };
    let own = list.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let ours = match controller {
            None => controllers.is_empty(),
            Some(name) => controllers.split(',').any(|one| one == name),
        };
        ours.then_some(path)
    });
    let Some(own) = own else { return Vec::new() };
    let mounts: &[&str] = match controller {
        None => &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
        Some("cpu") => &["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"],
        Some(_) => &["sys/fs/cgroup/memory"],
    };
    let mut groups = Vec::new();
    for mount in mounts {
        let mut path = own.trim_end_matches('/');
        loop {
            groups.push(format!("{mount}{path}"));
            match path.rfind('/') {
                Some(end) => path = &path[..end],
                None => break,
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use crate::machine::tests::machine_of;

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let machine = machine_of(
            &[
                ("proc/self/cgroup", "0::/a/b\n"),
                ("proc/meminfo", "MemTotal: 8388608 kB\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
                ("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/a/cpu.max", "max 100000\n"),
            ],
            vec![0],
        );
        assert_eq!(machine.memory_bytes, 1 << 30);
        assert_eq!(machine.memory_source, "cgroup");
        assert_eq!(machine.cpu_quota, Some(1.5));
    }

    #[test]
    fn version_one_is_read_from_its_own_mounts() {
        let machine = machine_of(
            &[
                ("proc/self/cgroup", "4:memory:/x\n1:cpu,cpuacct:/\n0::/\n"),
                ("proc/meminfo", "MemTotal: 8388608 kB\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2147483648\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            vec![0],
        );
        assert_eq!(machine.memory_bytes, 2 << 30);
        assert_eq!(machine.cpu_quota, None);
    }

    #[test]
    fn a_hidden_group_falls_back_to_the_mount_itself() {
        let machine = machine_of(
            &[
                ("proc/self/cgroup", "0::/kubepods/pod1\n"),
                ("sys/fs/cgroup/memory.max", "536870912\n"),
                ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
            ],
            vec![0],
        );
        assert_eq!(machine.memory_bytes, 512 << 20);
        assert_eq!(machine.cpu_quota, Some(2.0));
    }
}
