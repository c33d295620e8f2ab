//! RDMA: library, devices, ports and GIDs; what is usable, and why the rest is not.

use super::checks::{Check, State};
use torc_verbs::survey::choice::{Wish, usable};
use torc_verbs::survey::{GidEntry, KernelPort, Survey, SurveyedDevice};

/// Memory that is to be registered, at least: that of a small server.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

const OTHERS_SERVE: &str = "clients are served over TCP and Unix sockets";

/// A check for each port, or one that says that there is none.
pub(super) fn checks(survey: &Survey) -> Vec<Check> {
    if survey.devices.is_empty() {
        let found = match &survey.library {
            Ok(()) => "libibverbs, and no device".into(),
            Err(error) => format!("no device; {error}"),
        };
        return vec![Check::new("RDMA", State::Missing, found).follows(OTHERS_SERVE)];
    }
    let mut checks = Vec::new();
    for device in &survey.devices {
        checks.extend((0..device.kernel.ports.len()).map(|at| port(survey, device, at)));
    }
    checks
}

fn port(survey: &Survey, device: &SurveyedDevice, at: usize) -> Check {
    let kernel = &device.kernel.ports[at];
    let name = format!("RDMA {}/{}", device.kernel.name, kernel.number);
    let wish = Wish { memory_bytes: MEMORY_BYTES_MIN, ..Wish::default() };
    let node = device.kernel.numa_node.map(|node| format!(", NUMA node {node}")).unwrap_or_default();
    match usable(survey, device, at, &wish) {
        Ok((gid, mtu)) => {
            let gids = gids(kernel, Some(gid.index));
            let found = format!("usable: MTU {}, {}{node}; {gids}", mtu.bytes(), kernel.rate);
            Check::new(&name, State::Found, found).follows("native clients may go on over it: see --rdma")
        }
        Err(why) => {
            let found = format!("{why}; {}{node}; {}", kernel.rate, gids(kernel, None));
            Check::new(&name, State::Missing, found)
                .follows(OTHERS_SERVE)
                .cure(why.cure().unwrap_or_default())
        }
    }
}

/// The table of GIDs, with the one that is chosen.
fn gids(port: &KernelPort, chosen: Option<u8>) -> String {
    let word = |entry: &GidEntry| {
        let mark = if Some(entry.index) == chosen { ", chosen" } else { "" };
        let interface = entry.interface.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
        format!("{} {} ({}{interface}{mark})", entry.index, entry.gid, entry.kind)
    };
    match port.gids.as_slice() {
        [] => "no GID".into(),
        gids => format!("GIDs {}", gids.iter().map(word).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use torc_verbs::error::VerbsError;
    use torc_verbs::library::LibraryError;
    use torc_verbs::path::Mtu;
    use torc_verbs::seam::{Limits, Port};
    use torc_verbs::survey::{KernelDevice, NotOpened, Opened};

    fn missing() -> LibraryError {
        LibraryError::Missing("libibverbs.so.1: cannot open shared object file".into())
    }

    fn device(opened: Result<Opened, NotOpened>) -> SurveyedDevice {
        let entry = |index, gid: &str| GidEntry {
            index,
            gid: gid.parse().expect("a GID"),
            kind: "RoCE v2".parse().expect("a kind"),
            interface: Some("eth0".into()),
        };
        let port = KernelPort {
            number: 1,
            state: "ACTIVE".into(),
            link_layer: "Ethernet".into(),
            rate: "100 Gb/sec".into(),
            gids: vec![entry(0, "fe80::1"), entry(1, "::ffff:10.0.0.1")],
        };
        let kernel = KernelDevice { name: "mlx5_0".into(), numa_node: Some(1), ports: vec![port] };
        SurveyedDevice { kernel, opened }
    }

    fn opened(port: Result<Port, VerbsError>) -> Result<Opened, NotOpened> {
        let limits = Limits {
            ports: 1,
            pairs: 1,
            requests: 1,
            completions: 1,
            regions: 1,
            region_bytes: 1,
            shared_receives: 0,
            reads_out: 1,
            reads_in: 1,
        };
        Ok(Opened { limits, ports: vec![port] })
    }

    const UP: Port = Port { is_up: true, is_ethernet: true, mtu: Some(Mtu::Bytes4096), message_bytes: 1 };

    fn only(survey: &Survey) -> Check {
        let mut checks = checks(survey);
        assert_eq!(checks.len(), 1);
        checks.remove(0)
    }

    #[test]
    fn without_a_device_one_line_says_what_is_missing() {
        let without = Survey { library: Err(missing()), memlock: None, devices: Vec::new() };
        let check = only(&without);
        assert_eq!((check.name.as_str(), check.state), ("RDMA", State::Missing));
        assert!(
            check.found.contains("no device") && check.found.contains("no libibverbs"),
            "{}",
            check.found
        );
        assert!(check.follows.contains("TCP"));
        let with_library = Survey { library: Ok(()), ..without };
        assert_eq!(only(&with_library).found, "libibverbs, and no device");
    }

    #[test]
    fn a_port_tells_its_gids_and_which_is_chosen() {
        let survey = Survey { library: Ok(()), memlock: None, devices: vec![device(opened(Ok(UP)))] };
        let check = only(&survey);
        assert_eq!(check.name, "RDMA mlx5_0/1");
        for words in [
            "usable: MTU 4096, 100 Gb/sec, NUMA node 1",
            "0 fe80::1 (RoCE v2, eth0)",
            "1 10.0.0.1 (RoCE v2, eth0, chosen)",
        ] {
            assert!(check.found.contains(words), "{words}: {}", check.found);
        }
    }

    #[test]
    fn a_port_that_cannot_be_used_says_why_and_what_helps() {
        let of = |opened| Survey { library: Ok(()), memlock: None, devices: vec![device(opened)] };
        let locked = Survey { memlock: Some(65_536), ..of(opened(Ok(UP))) };
        for (survey, why, cure) in [
            (of(Err(NotOpened::NoLibrary(missing()))), "no libibverbs", "install libibverbs"),
            (of(Err(NotOpened::NoDriver)), "no driver", "ibverbs-providers"),
            (of(opened(Ok(Port { is_up: false, ..UP }))), "link is not up", "ip link set"),
            (locked, "65536 bytes", "ulimit -l"),
        ] {
            let check = only(&survey);
            assert_eq!(check.state, State::Missing);
            assert!(check.found.contains(why), "{why}: {}", check.found);
            assert!(check.cure.contains(cure), "{cure}: {}", check.cure);
        }
    }
}
