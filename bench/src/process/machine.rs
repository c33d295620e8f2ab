//! What a kept result says about the machine it was measured on.

use std::fs;

use serde::Serialize;

/// Hardware and kernel, as far as `/proc` tells.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub host: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub hypervisor: bool,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let meminfo = read("/proc/meminfo");
        let memory = super::probe::status_bytes(&meminfo, "MemTotal:").unwrap_or(0);
        Self {
            host: read("/proc/sys/kernel/hostname").trim().to_owned(),
            cpu: field(&cpuinfo, "model name").unwrap_or_default(),
            // Not what this thread may use: a generator is pinned to one.
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: (memory as f64 / (1u64 << 30) as f64 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            hypervisor: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor")),
        }
    }
}

/// The value of the first line `NAME : VALUE`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(field(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(text, "flags"), None);
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let machine = Machine::read();
        assert!(machine.cores >= 1 && machine.memory_gib > 0.0);
        assert!(!machine.kernel.is_empty());
    }
}
