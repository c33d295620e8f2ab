//! What the kernel tells of its RDMA devices, below `/sys/class/infiniband`; no library is needed for that.

use crate::gid::{Gid, GidKind};
use std::fs;
use std::path::Path;

/// A device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelDevice {
    pub name: String,
    /// The NUMA node of its slot; `None`: it has none, or the machine has one node only.
    pub numa_node: Option<u32>,
    pub ports: Vec<KernelPort>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPort {
    pub number: u8,
    /// As the kernel writes it, such as `ACTIVE` or `DOWN`.
    pub state: String,
    /// `Ethernet` or `InfiniBand`.
    pub link_layer: String,
    /// Such as `100 Gb/sec (4X EDR)`.
    pub rate: String,
    /// Those that are used.
    pub gids: Vec<GidEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GidEntry {
    pub index: u8,
    pub gid: Gid,
    pub kind: GidKind,
    /// The network interface whose address it is.
    pub interface: Option<String>,
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// `4: ACTIVE` without its number.
fn word(path: &Path) -> String {
    let text = text(path).unwrap_or_default();
    text.split_once(": ").map_or(text.as_str(), |(_, word)| word).to_owned()
}

/// The names in a folder, sorted; none if it cannot be read.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// All devices, sorted by name. What cannot be read is left out or empty. `root` is `/`, but in tests.
pub fn devices(root: &Path) -> Vec<KernelDevice> {
    let class = root.join("sys/class/infiniband");
    names(&class).into_iter().map(|name| device(&class, name)).collect()
}

fn device(class: &Path, name: String) -> KernelDevice {
    let folder = class.join(&name);
    // -1, which is no number here: no node.
    let node = text(&folder.join("device/numa_node")).and_then(|node| node.parse().ok());
    let mut ports: Vec<KernelPort> = names(&folder.join("ports"))
        .iter()
        .filter_map(|number| port(&folder, number.parse().ok()?))
        .collect();
    ports.sort_by_key(|port| port.number);
    KernelDevice { name, numa_node: node, ports }
}

fn port(device: &Path, number: u8) -> Option<KernelPort> {
    let folder = device.join("ports").join(number.to_string());
    Some(KernelPort {
        number,
        state: word(&folder.join("state")),
        link_layer: text(&folder.join("link_layer"))?,
        rate: text(&folder.join("rate")).unwrap_or_default(),
        gids: gids(&folder),
    })
}

fn gids(port: &Path) -> Vec<GidEntry> {
    // The library takes no index that needs more than a byte.
    let mut indices: Vec<u8> =
        names(&port.join("gids")).iter().filter_map(|index| index.parse().ok()).collect();
    indices.sort_unstable();
    indices.into_iter().filter_map(|index| gid(port, index)).collect()
}

/// The kind of an entry that is not used cannot be read.
fn gid(port: &Path, index: u8) -> Option<GidEntry> {
    let of = |folder: &str| text(&port.join(folder).join(index.to_string()));
    let gid: Gid = of("gids")?.parse().ok()?;
    let kind = of("gid_attrs/types")?.parse().ok()?;
    (!gid.is_zero()).then(|| GidEntry { index, gid, kind, interface: of("gid_attrs/ndevs") })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder with these files, which is removed when it is dropped.
    pub(crate) struct Root(pub(crate) PathBuf);

    impl Root {
        pub(crate) fn of(name: &str, files: &[(&str, &str)]) -> Root {
            let root = std::env::temp_dir().join(format!("torc-verbs-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join("sys/class/infiniband").join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            Root(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const CARD: [(&str, &str); 14] = [
        ("mlx5_0/device/numa_node", "1\n"),
        ("mlx5_0/ports/1/state", "4: ACTIVE\n"),
        ("mlx5_0/ports/1/link_layer", "Ethernet\n"),
        ("mlx5_0/ports/1/rate", "100 Gb/sec (4X EDR)\n"),
        ("mlx5_0/ports/1/gids/0", "fe80:0000:0000:0000:0000:00ff:fe00:0001\n"),
        ("mlx5_0/ports/1/gid_attrs/types/0", "IB/RoCE v1\n"),
        ("mlx5_0/ports/1/gids/10", "0000:0000:0000:0000:0000:ffff:0a00:0001\n"),
        ("mlx5_0/ports/1/gid_attrs/types/10", "RoCE v2\n"),
        ("mlx5_0/ports/1/gid_attrs/ndevs/10", "eth0\n"),
        ("mlx5_0/ports/1/gids/2", "0000:0000:0000:0000:0000:0000:0000:0000\n"),
        ("mlx5_0/ports/1/gid_attrs/types/2", "RoCE v2\n"),
        ("mlx5_0/ports/1/gids/3", "fe80:0000:0000:0000:0000:00ff:fe00:0003\n"),
        ("rxe0/device/numa_node", "-1\n"),
        ("rxe0/ports/nonsense/state", "\n"),
    ];

    #[test]
    fn a_card_is_read_as_the_kernel_shows_it() {
        let root = Root::of("card", &CARD);
        let devices = devices(&root.0);
        assert_eq!(devices.len(), 2, "{devices:?}");
        let card = &devices[0];
        assert_eq!((card.name.as_str(), card.numa_node), ("mlx5_0", Some(1)));
        let port = &card.ports[0];
        assert_eq!((port.number, port.state.as_str(), port.link_layer.as_str()), (1, "ACTIVE", "Ethernet"));
        let gids: Vec<_> =
            port.gids.iter().map(|entry| (entry.index, entry.kind, entry.interface.as_deref())).collect();
        // In the order of their numbers; those that are zero or without a kind are not used.
        assert_eq!(gids, [(0, GidKind::V1, None), (10, GidKind::V2, Some("eth0"))]);
        let emulated = KernelDevice { name: "rxe0".into(), numa_node: None, ports: Vec::new() };
        assert_eq!(devices[1], emulated);
    }

    #[test]
    fn no_devices_are_no_error() {
        assert_eq!(devices(Path::new("/nowhere")), []);
    }
}
