//! The simulated provider.

use crate::world::World;
use std::cell::RefCell;
use torc_verbs::path::{Mtu, Path};
use torc_verbs::sim::{Device, Network, Weather};

/// How many there are of each case; `TORC_SIM_SEED=n` replays one.
const SEEDS: u64 = 50;
/// Steps after which nothing will happen any more.
const PATIENCE_STEPS: u64 = 1_000_000;

pub(crate) struct Simulated {
    pub(crate) network: Network,
    devices: RefCell<[Device; 2]>,
    removed: RefCell<Option<Device>>,
}

impl Simulated {
    pub(crate) fn new(seed: u64) -> Simulated {
        let network = Network::new(seed, Weather::default());
        let devices = [network.add_device(), network.add_device()];
        Simulated { network, devices: RefCell::new(devices), removed: RefCell::new(None) }
    }
}

impl World for Simulated {
    type Device = Device;

    fn open(&self, end: usize) -> Device {
        self.devices.borrow()[end].clone()
    }

    fn path(&self, _end: usize) -> Path {
        Path::new(1, 1, Mtu::Bytes4096)
    }

    fn turn(&self, since: u64) -> bool {
        self.network.step();
        self.network.steps() - since < PATIENCE_STEPS
    }

    fn now(&self) -> u64 {
        self.network.steps()
    }

    fn set_link(&self, end: usize, is_up: bool) -> bool {
        self.network.set_link(&self.devices.borrow()[end], is_up);
        true
    }

    fn begin_removal(&self, end: usize, device: &Device) {
        self.network.remove(device);
        let spare = self.network.add_device();
        self.removed.replace(Some(std::mem::replace(&mut self.devices.borrow_mut()[end], spare)));
    }

    fn is_removed(&self) -> bool {
        self.removed.borrow().as_ref().is_some_and(|device| device.values() == 1)
    }

    fn bring_back(&self, _end: usize) {
        self.removed.replace(None);
    }
}

pub(crate) fn under_seeds(case: fn(&Simulated)) {
    let one: Option<u64> = std::env::var("TORC_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let outcome = std::panic::catch_unwind(|| case(&Simulated::new(seed)));
        if let Err(panic) = outcome {
            eprintln!("TORC_SIM_SEED={seed} replays this");
            std::panic::resume_unwind(panic);
        }
    }
}
