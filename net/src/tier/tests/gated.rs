//! A simulated medium whose drains a test can hold up.

use super::*;

/// A simulated medium whose drains wait while its gate is closed.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) sim: Sim,
    pub(super) is_open: Mutex<bool>,
    pub(super) opens: Condvar,
    /// Nothing can be written any more.
    pub(super) is_broken: AtomicBool,
}

impl Gated {
    pub(super) fn new() -> Arc<Gated> {
        Gated::with(CONFIG)
    }

    pub(super) fn with(config: Config) -> Arc<Gated> {
        let gated = Gated {
            sim: Sim::new(config.bytes, 512),
            is_open: Mutex::new(true),
            opens: Condvar::new(),
            is_broken: AtomicBool::new(false),
        };
        let gated = Arc::new(gated);
        let medium: Arc<dyn Medium> = gated.clone();
        Tier::create(&medium, config).unwrap();
        gated
    }

    pub(super) fn of_image(image: Vec<u8>) -> Arc<Gated> {
        let (is_open, opens) = (Mutex::new(true), Condvar::new());
        Arc::new(Gated { sim: Sim::of_image(image, 512), is_open, opens, is_broken: AtomicBool::new(false) })
    }

    pub(super) fn set_open(&self, is_open: bool) {
        *self.is_open.lock().unwrap() = is_open;
        self.opens.notify_all();
    }
}

impl Medium for Gated {
    fn describe(&self) -> String {
        self.sim.describe()
    }

    fn bytes(&self) -> u64 {
        self.sim.bytes()
    }

    fn is_persistent(&self) -> bool {
        true
    }

    fn is_byte_addressable(&self) -> bool {
        self.sim.is_byte_addressable()
    }

    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        if self.is_broken.load(Relaxed) {
            self.sim.fail(Call::Write, 0, libc::EIO);
        }
        self.sim.write(at, blocks)
    }

    fn drain(&self) -> Result<(), MediaError> {
        let held = self.is_open.lock().unwrap();
        let _open = self.opens.wait_while(held, |is_open| !*is_open).unwrap();
        self.sim.drain()
    }

    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        self.sim.read(at, out)
    }
}
