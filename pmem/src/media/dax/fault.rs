//! Faults in mapped files, as a flag of the mapping instead of the end of the process.
//!
//! The kernel sends SIGBUS for an access to a mapped file whose place is gone: the file was cut, or the memory behind it is
//! broken. The handler lays a page of zeros over that place, notes it, and returns, so that the access is repeated and
//! succeeds. What was read is then wrong, and what was written is lost: whoever made the access looks at
//! [`Watched::first`] before anything of it is believed. No frame is jumped over.

use std::io;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, compiler_fence};

/// Mappings that can be watched at a time.
pub(super) const WATCHED_MAX: usize = 64;

static WATCHED: [AtomicPtr<Region>; WATCHED_MAX] = [const { AtomicPtr::new(null_mut()) }; WATCHED_MAX];

/// What was done with SIGBUS before; kept before the handler is there.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Where a mapping lies. Never freed, as a handler may be looking at one at any time: 24 bytes for each mapping ever made.
#[derive(Debug)]
struct Region {
    start: usize,
    len: usize,
    /// Distance of the first fault from the start, plus one; 0: none.
    fault: AtomicUsize,
}

/// A mapping whose faults are caught as long as this lives.
#[derive(Debug)]
pub(super) struct Watched {
    region: &'static Region,
    slot: &'static AtomicPtr<Region>,
}

impl Watched {
    /// Watches `len` bytes from `start` on.
    ///
    /// # Errors
    /// All [`WATCHED_MAX`] are taken; the handler cannot be installed.
    ///
    /// # Safety
    /// The bytes are a mapping of the caller's, which nobody else unmaps or maps over as long as the value lives, and which
    /// holds what may at any time be zeros.
    pub(super) unsafe fn new(start: *mut u8, len: usize) -> io::Result<Watched> {
        install()?;
        let region: *mut Region =
            Box::leak(Box::new(Region { start: start as usize, len, fault: AtomicUsize::new(0) }));
        let take = |slot: &&AtomicPtr<Region>| {
            slot.compare_exchange(null_mut(), region, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        match WATCHED.iter().find(take) {
            // SAFETY: the region was leaked above, and is only shared from here on.
            Some(slot) => Ok(Watched { region: unsafe { &*region }, slot }),
            None => {
                // SAFETY: it is the box from above, which nobody else got to see.
                drop(unsafe { Box::from_raw(region) });
                Err(io::Error::other("too many files are mapped"))
            }
        }
    }

    /// Where the first fault of all accesses so far was, bytes from the start.
    pub(super) fn first(&self) -> Option<u64> {
        // The compiler does not know that an access before this may set it.
        compiler_fence(Ordering::SeqCst);
        self.region.fault.load(Ordering::SeqCst).checked_sub(1).map(|at| at as u64)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.slot.store(null_mut(), Ordering::Release);
    }
}

fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let failed = || Err(io::Error::last_os_error().raw_os_error().unwrap_or(0));
        // SAFETY: all zeros is an action: the default one, without flags.
        let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: it only asks, and the record lives through the call.
        if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous) } != 0 {
            return failed();
        }
        PREVIOUS.get_or_init(|| previous);
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler calls only what may be called in one (see there).
        if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, null_mut()) } != 0 {
            return failed();
        }
        Ok(())
    });
    installed.map_err(io::Error::from_raw_os_error)
}

/// The handler. It reads statics that are set, stores atomics, and makes system calls; it takes no lock and no memory.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a record, and for this signal an address in it.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // What another process has sent has no address.
    let is_fault = code > 0;
    if !(is_fault && cover(address)) {
        pass_on(signal, info, context, is_fault);
    }
}

/// Lays zeros over the page of an address, if it lies in a mapping that is watched.
fn cover(address: usize) -> bool {
    let region = WATCHED.iter().find_map(|slot| {
        // SAFETY: a region that was ever in a slot is never freed.
        let region = unsafe { slot.load(Ordering::Acquire).as_ref() }?;
        address.checked_sub(region.start).filter(|at| *at < region.len).map(|at| (region, at))
    });
    let Some((region, at)) = region else { return false };
    // Before the page is there: who writes to it then finds this.
    let _ = region.fault.compare_exchange(0, at + 1, Ordering::SeqCst, Ordering::SeqCst);
    // The interrupted code may be about to look at it.
    // SAFETY: each thread has its own, which lives as long as it does.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: it only asks.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let page = (region.start + at / page_bytes * page_bytes) as *mut libc::c_void;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the page is a part of a mapping (starts of mappings are starts of pages), whose owner has agreed to find zeros
    // there. No memory is moved that anybody holds a reference to: the owner accesses it by atomic words.
    let covered = unsafe { libc::mmap(page, page_bytes, protection, flags, -1, 0) } == page;
    // SAFETY: as above.
    unsafe { *errno = before };
    covered
}

/// Does what was done with the signal before the handler was there.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void, is_fault: bool) {
    let previous = PREVIOUS.get();
    let (function, flags) = previous.map_or((libc::SIG_DFL, 0), |old| (old.sa_sigaction, old.sa_flags));
    match function {
        libc::SIG_IGN if !is_fault => {}
        // A fault cannot be ignored: it would come again, for ever.
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the default action is installed, and comes about when this handler returns.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
        function if flags & libc::SA_SIGINFO != 0 => {
            type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: an action with this flag is a function of this type.
            let function = unsafe { std::mem::transmute::<usize, WithInfo>(function) };
            function(signal, info, context);
        }
        function => {
            // SAFETY: an action without the flag that is none of the constants is a function of this type.
            let function = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(function) };
            function(signal);
        }
    }
}
