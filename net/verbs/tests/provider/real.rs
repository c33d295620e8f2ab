//! A pair of real devices on one wire, which the environment names.
//!
//! `TORC_TEST_RDMA=a,b` names the devices. `TORC_TEST_RDMA_LINKS=1` allows to set their links down, and to remove them, which can be
//! done to SoftRoCE devices alone.

use crate::world::World;
use std::cell::RefCell;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use torc_verbs::device::Device;
use torc_verbs::path::Path;
use torc_verbs::survey;
use torc_verbs::survey::choice::{Choice, Wish, choose};

const PATIENCE: Duration = Duration::from_secs(60);
/// A port is usable some time after its link is up.
const SETTLED: Duration = Duration::from_secs(10);

pub(crate) struct Real {
    names: [String; 2],
    started: Instant,
    may_change_links: bool,
    removal: RefCell<Option<Child>>,
}

impl Real {
    fn choice(&self, end: usize) -> Choice {
        let wish = Wish { device: Some(self.names[end].clone()), ..Wish::default() };
        let since = Instant::now();
        loop {
            match choose(&survey::here(), &wish) {
                Ok(choice) if choice.gid.gid.ipv4().is_some() => return choice,
                other => assert!(since.elapsed() < SETTLED, "{} cannot be used: {other:?}", self.names[end]),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The network interface below a device; its name is that of the device with `veth` in place of `rxe`, as the guest has them.
    fn interface(&self, end: usize) -> String {
        self.names[end].replace("rxe", "veth")
    }
}

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().expect("a shell");
    assert!(status.success(), "{command}: {status}");
}

impl World for Real {
    type Device = Device;

    fn open(&self, end: usize) -> Device {
        self.choice(end);
        Device::open(&self.names[end]).expect("a device")
    }

    fn path(&self, end: usize) -> Path {
        let choice = self.choice(end);
        Path::new(choice.port, choice.gid.index, choice.mtu)
    }

    fn turn(&self, since: u64) -> bool {
        thread::sleep(Duration::from_micros(50));
        self.now() - since < PATIENCE.as_micros() as u64
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn set_link(&self, end: usize, is_up: bool) -> bool {
        if self.may_change_links {
            let state = if is_up { "up" } else { "down" };
            run(&format!("ip link set dev {} {state}", self.interface(end)));
        }
        self.may_change_links
    }

    fn begin_removal(&self, end: usize, _device: &Device) {
        let child = Command::new("rdma").args(["link", "delete", &self.names[end]]).spawn();
        self.removal.replace(Some(child.expect("the command rdma")));
    }

    fn is_removed(&self) -> bool {
        let mut removal = self.removal.borrow_mut();
        let status = removal.as_mut().expect("a removal").try_wait().expect("a child");
        assert!(status.is_none_or(|status| status.success()), "rdma link delete: {status:?}");
        status.is_some()
    }

    fn bring_back(&self, end: usize) {
        run(&format!("rdma link add {} type rxe netdev {}", self.names[end], self.interface(end)));
    }
}

pub(crate) fn where_there_are_any(name: &str, case: fn(&Real)) {
    /// One at a time: SoftRoCE loses completions when many queue pairs run at once, and some tests cut the wire.
    static ONE: Mutex<()> = Mutex::new(());
    let Ok(names) = std::env::var("TORC_TEST_RDMA") else {
        eprintln!("{name}: SKIPPED, as TORC_TEST_RDMA names no devices");
        return;
    };
    let (first, second) = names.split_once(',').expect("TORC_TEST_RDMA is two names with a comma");
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let may_change_links = std::env::var("TORC_TEST_RDMA_LINKS").is_ok_and(|value| value == "1");
    let names = [first.to_owned(), second.to_owned()];
    case(&Real { names, started: Instant::now(), may_change_links, removal: RefCell::new(None) });
}
