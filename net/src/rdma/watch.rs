//! The thread that opens the device, and watches it.

use super::events::DeviceEvents;
use super::register::Registrar;
use super::{DeviceState, Opened, Rdma, RdmaChoice, RdmaStatus, lock};
use crate::transport::Waker;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use torc_engine::remote::RemoteMemory;
use torc_rdma::verbs::completion::Event;
use torc_rdma::verbs::device::Device;
use torc_rdma::verbs::seam::Verbs;
use torc_rdma::{Cause, Local, Unavailable};

/// How often the thread looks at what does not wake it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it reads what the device counts itself, which may be a question to the device.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Pauses between two tries to open a device: the first, doubled up to the last.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Opens the device that is asked for, if it can be.
///
/// # Errors
/// There is none, and there must be.
pub(crate) fn begin(config: &Rdma) -> Result<(Option<Watcher>, RdmaStatus), Unavailable> {
    if config.choice == RdmaChoice::Off {
        return Ok((None, RdmaStatus::Off));
    }
    match Local::open(&config.wish, config.traffic_class) {
        Ok(local) => {
            let status = RdmaStatus::On(in_words(&local));
            Ok((Some(Watcher::new(local)), status))
        }
        Err(why) if config.choice == RdmaChoice::Require => Err(why),
        Err(why) => {
            let (cause, cure) = (Cause::from(&why), why.cure());
            Ok((None, RdmaStatus::Unavailable { cause, why: why.to_string(), cure }))
        }
    }
}

/// A device, for people.
fn in_words(local: &Local) -> String {
    let choice = &local.choice;
    let node = choice.numa_node.map_or(String::new(), |node| format!(", NUMA node {node}"));
    let (device, port, gid) = (&choice.device, choice.port, choice.gid.gid);
    format!("{device} port {port}, {gid}, MTU {}{node}", choice.mtu.bytes())
}

/// Figures of the device, for metrics.
#[derive(Debug, Default)]
pub(crate) struct DeviceFigures {
    pub(crate) is_open: AtomicBool,
    pub(crate) is_up: AtomicBool,
    /// Times that a device was opened, and given up.
    pub(crate) opened: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) events: DeviceEvents,
}

/// The thread, and what it publishes.
pub(crate) struct Watcher {
    pub(crate) state: Arc<DeviceState<Device>>,
    pub(crate) figures: Arc<DeviceFigures>,
    ends: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    /// Publishes the device; [`Watcher::start`] must follow.
    fn new(local: Local) -> Watcher {
        let watcher = Watcher {
            state: Arc::default(),
            figures: Arc::default(),
            ends: Arc::default(),
            thread: Mutex::new(None),
        };
        publish(&watcher.state, &watcher.figures, local);
        watcher
    }

    /// Whether clients get queue pairs of it.
    pub(crate) fn is_usable(&self) -> bool {
        self.figures.is_open.load(Ordering::Relaxed) && self.figures.is_up.load(Ordering::Relaxed)
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(
        &self,
        config: Rdma,
        memory: Vec<RemoteMemory>,
        wakers: Vec<Arc<dyn Waker>>,
    ) -> std::io::Result<()> {
        let watch = Watch {
            state: self.state.clone(),
            figures: self.figures.clone(),
            ends: self.ends.clone(),
            registrar: Registrar::new(memory, config.reads, config.keys_for),
            config,
            wakers,
            down_since: None,
            pause: PAUSE_MIN,
            counted_at: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("torc-rdma".into()).spawn(move || watch.run())?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("figures", &self.figures).finish_non_exhaustive()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let thread = lock(&self.thread).take();
        // A panic of the thread was told when it happened.
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn publish(state: &DeviceState<Device>, figures: &DeviceFigures, local: Local) {
    // Nothing that a client was told of the last device's keys is taken for this one's.
    let epoch = (state.generation() + 1) << 32;
    figures.events.begin(Path::new("/"), &local.choice.device, local.place.port);
    state.replace(Some(Arc::new(Opened::new(local.device, local.domain, local.place, epoch))));
    figures.is_open.store(true, Ordering::Relaxed);
    figures.is_up.store(true, Ordering::Relaxed);
    figures.opened.fetch_add(1, Ordering::Relaxed);
}

struct Watch {
    state: Arc<DeviceState<Device>>,
    figures: Arc<DeviceFigures>,
    ends: Arc<AtomicBool>,
    registrar: Registrar<Device>,
    config: Rdma,
    wakers: Vec<Arc<dyn Waker>>,
    down_since: Option<Instant>,
    pause: Duration,
    counted_at: Instant,
}

impl Watch {
    fn run(mut self) {
        while !self.ends.load(Ordering::Relaxed) {
            match self.state.opened() {
                (_, Some(opened)) => {
                    if let Some(why) = self.look(&opened) {
                        // The device is closed with the last of these.
                        drop(opened);
                        self.give_up(why);
                    }
                }
                (_, None) => self.open_again(),
            }
        }
        self.state.replace(None);
    }

    /// Waits a while for something that the device tells. Why it is of no use any more, if it is not.
    fn look(&mut self, opened: &Arc<Opened<Device>>) -> Option<&'static str> {
        if self.registrar.go_on(opened) {
            self.wakers.iter().for_each(|waker| waker.wake());
        }
        wait(&opened.device);
        if self.counted_at.elapsed() >= COUNT_EVERY {
            self.counted_at = Instant::now();
            self.figures.events.look();
        }
        let mut is_gone = false;
        loop {
            match opened.device.next_event() {
                Ok(Some(event)) => is_gone |= self.heard(event, opened.place.port),
                Ok(None) => break,
                Err(_) => {
                    is_gone = true;
                    break;
                }
            }
        }
        // The address of the port may have gone with its interface's, of which nothing else tells.
        let is_down = self.down_since.is_some_and(|since| since.elapsed() >= self.config.down_timeout);
        let has_gid = opened.device.gid(opened.place.port, opened.place.gid_index) == Ok(opened.place.gid);
        match (is_down, is_gone || !has_gid) {
            (true, _) => Some("its port stays down"),
            (false, true) => Some("it is gone, or has lost its address"),
            (false, false) => None,
        }
    }

    /// Whether the device is of no use any more.
    fn heard(&mut self, event: Event, own: u8) -> bool {
        match event {
            Event::PortDown { port } if port == own => {
                self.figures.is_up.store(false, Ordering::Relaxed);
                tracing::warn!("--rdma: the port is down; clients go on over TCP");
                self.down_since.get_or_insert_with(Instant::now);
                false
            }
            Event::PortUp { port } if port == own => {
                self.figures.is_up.store(true, Ordering::Relaxed);
                tracing::info!("--rdma: the port is up");
                self.down_since = None;
                false
            }
            Event::DeviceFailed => true,
            _ => false,
        }
    }

    /// Has all shards drop what they made of the device, and closes it.
    fn give_up(&mut self, why: &str) {
        tracing::warn!("--rdma: the device is given up: {why}; it is tried again");
        let before = self.state.replace(None);
        self.figures.is_open.store(false, Ordering::Relaxed);
        self.figures.is_up.store(false, Ordering::Relaxed);
        self.figures.given_up.fetch_add(1, Ordering::Relaxed);
        self.figures.events.end();
        (self.down_since, self.pause) = (None, PAUSE_MIN);
        let Some(before) = before else { return };
        while Arc::strong_count(&before) > 1 && !self.ends.load(Ordering::Relaxed) {
            self.wakers.iter().for_each(|waker| waker.wake());
            std::thread::sleep(LOOK_EVERY / 10);
        }
    }

    fn open_again(&mut self) {
        let until = Instant::now() + self.pause;
        while Instant::now() < until && !self.ends.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_EVERY);
        }
        match Local::open(&self.config.wish, self.config.traffic_class) {
            Ok(local) => {
                tracing::info!("--rdma: {} is used again", local.choice.device);
                self.registrar.begin();
                publish(&self.state, &self.figures, local);
                self.pause = PAUSE_MIN;
            }
            Err(why) => {
                tracing::debug!("--rdma: {} ({})", why, Cause::from(&why).name());
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Waits until the device has something to tell, for [`LOOK_EVERY`] at most.
fn wait(device: &Device) {
    let Some(descriptor) = device.events() else { return std::thread::sleep(LOOK_EVERY) };
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, readable and writable for the call.
    unsafe { libc::poll(&raw mut poll, 1, LOOK_EVERY.as_millis() as i32) };
}
