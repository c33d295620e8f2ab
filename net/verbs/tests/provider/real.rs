//! A pair of real devices on one wire, which the environment names.
//!
//! `TORC_TEST_RDMA=a,b` names the devices. `TORC_TEST_RDMA_WIRE` names a script that sets their links up and down, removes them and
//! puts them back: `tools/guest/soft_roce.sh` for SoftRoCE. Without it these tests are left out.

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
    /// As found when the device was opened last.
    choices: RefCell<[Option<Choice>; 2]>,
    started: Instant,
    wire: Option<String>,
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

    /// The script, told to do something at one end.
    fn at_wire(&self, action: &str, end: usize) -> Option<Command> {
        let mut command = Command::new("bash");
        command.args([self.wire.as_ref()?.as_str(), action, ["a", "b"][end]]);
        Some(command)
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("bash");
    assert!(status.success(), "{command:?}: {status}");
}

impl World for Real {
    type Device = Device;

    fn open(&self, end: usize) -> Device {
        self.choices.borrow_mut()[end] = Some(self.choice(end));
        Device::open(&self.names[end]).expect("a device")
    }

    fn path(&self, end: usize) -> Path {
        let choices = self.choices.borrow();
        let choice = choices[end].as_ref().expect("a device that was opened");
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
        let command = self.at_wire(if is_up { "up" } else { "down" }, end);
        command.map(|mut command| run(&mut command)).is_some()
    }

    fn begin_removal(&self, end: usize, _device: &Device) {
        let mut command = self.at_wire("remove", end).expect("a script");
        self.removal.replace(Some(command.spawn().expect("bash")));
    }

    fn is_removed(&self) -> bool {
        let mut removal = self.removal.borrow_mut();
        let status = removal.as_mut().expect("a removal").try_wait().expect("a child");
        assert!(status.is_none_or(|status| status.success()), "removal: {status:?}");
        status.is_some()
    }

    fn bring_back(&self, end: usize) {
        run(&mut self.at_wire("add", end).expect("a script"));
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
    let wire = std::env::var("TORC_TEST_RDMA_WIRE").ok();
    let names = [first.to_owned(), second.to_owned()];
    case(&Real {
        names,
        choices: RefCell::default(),
        started: Instant::now(),
        wire,
        removal: RefCell::new(None),
    });
}
