//! What the functions of a Lua state share: its memory, its time, its host, and buffers.
//!
//! It is the allocator's user data, so that it is found from every coroutine.

use crate::buffer::Buffer;
use crate::host::{Host, Stop};
use crate::{json, random};
use mlua_sys as ffi;
use std::alloc::{Layout, alloc, dealloc, realloc};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

/// Instructions between two looks at the clock, and so many while the heap is large: then each of them may take long.
const PERIOD: c_int = 100;
const LARGE_PERIOD: c_int = 10;
/// A heap is large from so many KiB on.
const LARGE_KIB: c_int = 2 << 10;
/// Steps between two looks at the clock. A step is a nanosecond, or a few.
const STEPS: usize = 1 << 14;
/// Bytes that are copied in the time of a step.
const STEP_BYTES: usize = 8;
/// Alignment of what the allocator gives: that of C.
const ALIGN: usize = 16;

/// A host for as long as a script runs.
type CurrentHost = *mut (dyn Host + 'static);

pub(crate) struct Context {
    used: Cell<usize>,
    limit: Cell<usize>,
    began: Cell<Instant>,
    time: Cell<Duration>,
    steps: Cell<usize>,
    stopped: Cell<Option<Stop>>,
    host: Cell<Option<CurrentHost>>,
    /// The version of RESP that the script has chosen is 3.
    pub(crate) resp3: Cell<bool>,
    /// State of `math.random`: 48 bits.
    pub(crate) random: Cell<u64>,
    /// How JSON is written and read.
    pub(crate) json: Cell<json::Config>,
    /// Most bytes of a reply.
    pub(crate) reply_max: Cell<usize>,
    /// Kept for their room.
    pub(crate) request: Buffer,
    pub(crate) answer: Buffer,
    pub(crate) text: Buffer,
}

impl Default for Context {
    fn default() -> Self {
        Context {
            used: Cell::new(0),
            limit: Cell::new(usize::MAX),
            began: Cell::new(Instant::now()),
            time: Cell::new(Duration::MAX),
            steps: Cell::new(0),
            stopped: Cell::new(None),
            host: Cell::new(None),
            resp3: Cell::new(false),
            random: Cell::new(random::START),
            json: Cell::default(),
            reply_max: Cell::new(usize::MAX),
            request: Buffer::default(),
            answer: Buffer::default(),
            text: Buffer::default(),
        }
    }
}

impl Context {
    /// Of a state that was made with [`allocate`].
    pub(crate) fn of<'c>(state: *mut ffi::lua_State) -> &'c Context {
        let mut context = std::ptr::null_mut();
        // SAFETY: the state is alive, as it runs this code. Its allocator's user data is a context, boxed by the interpreter, which outlives
        // the state. It is only ever used by shared references.
        unsafe {
            ffi::lua_getallocf(state, &mut context);
            &*context.cast::<Context>()
        }
    }

    /// Bytes that the state has.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// A script begins: it may take so much memory beside what is in use, and so long.
    pub(crate) fn begin(&self, memory: usize, time: Duration) {
        self.limit.set(self.used.get().saturating_add(memory));
        self.reply_max.set(memory);
        self.began.set(Instant::now());
        self.time.set(time);
        self.steps.set(0);
        self.stopped.set(None);
        self.resp3.set(false);
        self.json.set(json::Config::default());
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        self.limit.set(usize::MAX);
        self.time.set(Duration::MAX);
        [&self.request, &self.answer, &self.text].into_iter().for_each(Buffer::trim);
    }

    /// How long ago it has begun.
    pub(crate) fn since(&self) -> Duration {
        self.began.get().elapsed()
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.stopped.get()
    }

    pub(crate) fn stop(&self, why: Stop) {
        if self.stopped.get().is_none() {
            self.stopped.set(Some(why));
        }
    }

    /// Looks at the clock. True: the script is stopped.
    pub(crate) fn is_over(&self) -> bool {
        if self.stopped.get().is_none() && self.since() > self.time.get() {
            self.stopped.set(Some(Stop::Time));
        }
        self.stopped.get().is_some()
    }

    /// Counts steps of a function. True: the script is stopped.
    #[inline]
    pub(crate) fn charge(&self, steps: usize) -> bool {
        let sum = self.steps.get().saturating_add(steps);
        if sum < STEPS {
            self.steps.set(sum);
            return false;
        }
        self.steps.set(0);
        self.is_over()
    }

    /// Counts bytes that a function copies or looks at, as steps.
    pub(crate) fn charge_bytes(&self, bytes: usize) -> bool {
        self.charge(1 + bytes / STEP_BYTES)
    }

    /// Lets `run` use this host.
    pub(crate) fn with_host<R>(&self, host: &mut dyn Host, run: impl FnOnce() -> R) -> R {
        // SAFETY: only the lifetime is another one. The pointer is taken away again before `host` is given back.
        let current = unsafe { std::mem::transmute::<*mut (dyn Host + '_), CurrentHost>(host) };
        self.host.set(Some(current));
        let result = run();
        self.host.set(None);
        result
    }

    /// Asks the host, if there is one.
    pub(crate) fn ask<R>(&self, ask: impl FnOnce(&mut dyn Host) -> R) -> Option<R> {
        // Taken meanwhile: nobody else has it.
        let host = self.host.take()?;
        // SAFETY: it is set by `with_host` alone, whose caller lends the host until that has ended.
        let result = ask(unsafe { &mut *host });
        self.host.set(Some(host));
        Some(result)
    }

    /// Whether so many bytes may be added to what is in use.
    fn allows(&self, old: usize, new: usize) -> bool {
        new <= old || self.used.get() - old + new <= self.limit.get()
    }
}

/// The allocator of a state: see `lua_Alloc`.
pub(crate) unsafe extern "C" fn allocate(
    context: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: the user data is the interpreter's context: see `Context::of`.
    let context = unsafe { &*context.cast::<Context>() };
    let old = if block.is_null() { 0 } else { old };
    if !context.allows(old, new) {
        return std::ptr::null_mut();
    }
    let (Ok(old_layout), Ok(new_layout)) =
        (Layout::from_size_align(old, ALIGN), Layout::from_size_align(new, ALIGN))
    else {
        return std::ptr::null_mut();
    };
    // SAFETY: Lua gives back blocks that it got here, with the length that it asked for; none is of length 0.
    let given: *mut u8 = unsafe {
        match (old, new) {
            (0, 0) => std::ptr::null_mut(),
            (0, _) => alloc(new_layout),
            (_, 0) => {
                dealloc(block.cast(), old_layout);
                std::ptr::null_mut()
            }
            _ => realloc(block.cast(), old_layout, new),
        }
    };
    if new == 0 || !given.is_null() {
        context.used.set(context.used.get() - old + new);
    }
    given.cast()
}

/// Called every few instructions of a script.
unsafe extern "C-unwind" fn hook(state: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    let is_over = Context::of(state).is_over();
    // SAFETY: the state is alive, as it calls this; nothing here has a destructor.
    unsafe {
        let kib = ffi::lua_gc(state, ffi::LUA_GCCOUNT, 0);
        let period = match is_over {
            // What catches the error does not go on either.
            true => 1,
            false if kib > LARGE_KIB => LARGE_PERIOD,
            false => PERIOD,
        };
        if ffi::lua_gethookcount(state) != period {
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, period);
        }
        if is_over {
            ffi::lua_pushnil(state);
            ffi::lua_error(state);
        }
    }
}

/// Has the clock looked at while a script runs.
///
/// # Safety
/// The state is alive.
pub(crate) unsafe fn watch(state: *mut ffi::lua_State) {
    // SAFETY: as the caller says.
    unsafe { ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, PERIOD) };
}

/// Ends that.
///
/// # Safety
/// The state is alive.
pub(crate) unsafe fn watch_no_more(state: *mut ffi::lua_State) {
    // SAFETY: as the caller says.
    unsafe { ffi::lua_sethook(state, None, 0, 0) };
}
