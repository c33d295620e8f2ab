//! A Lua state, the scripts that it has compiled, and how one of them is run.

use crate::context::{self, Context};
use crate::digest::{Digest, digits};
use crate::frame::{Frame, Kind};
use crate::host::{Host, Stop};
use crate::reply::Reply;
use crate::sandbox::{self, HANDLER, SCRIPTS};
use mlua_sys as ffi;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;
use std::time::Duration;

const REGISTRY: c_int = ffi::LUA_REGISTRYINDEX;
/// What places in scripts are told of.
const NAME: &CStr = c"@user_script";
/// Words of a script that may stay until the next one comes, and how long each is at most.
const WORDS_KEPT: usize = 32;
const WORD_BYTES_KEPT: usize = 1024;
/// Garbage that may lie about between two scripts, bytes.
const GARBAGE_BYTES_MAX: usize = 1 << 20;

/// What a script may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory, bytes: of the values that it makes, and of its reply.
    pub memory_bytes: usize,
    pub time: Duration,
}

/// A script to be run.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'i> {
    /// Of its text: by this it was [loaded](Interpreter::load).
    pub digest: &'i [u8; 20],
    pub keys: &'i [&'i [u8]],
    pub arguments: &'i [&'i [u8]],
    /// The reply is in the words of RESP3.
    pub resp3: bool,
    pub limits: Limits,
}

impl Invocation<'_> {
    /// Whether its words are not to stay until the next one comes.
    fn is_long(&self) -> bool {
        let mut words = self.keys.iter().chain(self.arguments);
        self.keys.len() + self.arguments.len() > WORDS_KEPT || words.any(|word| word.len() > WORD_BYTES_KEPT)
    }
}

/// How a script has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has returned, and its value is the reply.
    Returned,
    /// By an error, which is the reply.
    Failed,
    /// It was stopped; there is no reply.
    Stopped(Stop),
    /// It is not loaded.
    Unknown,
}

/// A Lua state. It belongs to one thread.
pub struct Interpreter {
    state: NonNull<ffi::lua_State>,
    // Boxed: the state has its address.
    #[expect(dead_code, reason = "the state has its address")]
    context: Box<Context>,
    /// In use when nothing was run or loaded.
    idle_bytes: usize,
    scripts: usize,
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter").field("scripts", &self.scripts).finish_non_exhaustive()
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // SAFETY: the state is this one's alone, and is not used any more.
        unsafe { ffi::lua_close(self.state.as_ptr()) };
    }
}

impl Interpreter {
    /// A new state; `version` is what scripts are told of Redis. `None`: there is no memory.
    pub fn new(version: &str) -> Option<Interpreter> {
        let mut made = Interpreter::empty()?;
        made.protected(|frame| sandbox::build(frame, version)).ok()?;
        made.idle_bytes = made.bytes_held();
        Some(made)
    }

    /// A state without any functions.
    fn empty() -> Option<Interpreter> {
        let context = Box::<Context>::default();
        let address = std::ptr::from_ref::<Context>(&context).cast_mut().cast::<c_void>();
        // SAFETY: the allocator's user data is the context, which lives as long as the state.
        let state = NonNull::new(unsafe { ffi::lua_newstate(context::allocate, address) })?;
        Some(Interpreter { state, context, idle_bytes: 0, scripts: 0 })
    }

    /// Memory that it has, bytes.
    pub fn bytes_held(&self) -> usize {
        Context::of(self.state.as_ptr()).used()
    }

    /// How long ago the last script began to run.
    pub fn since(&self) -> Duration {
        Context::of(self.state.as_ptr()).since()
    }

    /// Scripts that are loaded.
    pub fn scripts(&self) -> usize {
        self.scripts
    }

    /// Calls `body`, which may raise errors.
    ///
    /// # Errors
    /// It has raised one.
    fn protected<F: FnMut(&Frame)>(&mut self, mut body: F) -> Result<(), ()> {
        unsafe extern "C-unwind" fn enter<F: FnMut(&Frame)>(state: *mut ffi::lua_State) -> c_int {
            // SAFETY: `protected` hands over the closure, as the only argument, and waits for the end of this.
            let (frame, body) =
                unsafe { (Frame::new(state), &mut *ffi::lua_touserdata(state, 1).cast::<F>()) };
            frame.set_top(0);
            body(&frame);
            0
        }
        let state = self.state.as_ptr();
        // SAFETY: the state is alive, and nobody else runs it. The closure outlives the call; what it borrows has its destructors here.
        match unsafe { ffi::lua_cpcall(state, enter::<F>, (&raw mut body).cast()) } {
            ffi::LUA_OK => Ok(()),
            _ => {
                // SAFETY: the error is the topmost value.
                unsafe { ffi::lua_settop(state, 0) };
                Err(())
            }
        }
    }

    /// Compiles a script.
    ///
    /// # Errors
    /// What is wrong with it; empty if there is no memory.
    pub fn load(&mut self, digest: &Digest, text: &[u8]) -> Result<(), Vec<u8>> {
        let mut error = None;
        let run = self.protected(|frame| {
            frame.raw_get_at(REGISTRY, SCRIPTS);
            frame.push_bytes(digest);
            match compile(frame, text) {
                Ok(()) => frame.raw_set(-3),
                Err(words) => error = Some(words),
            }
        });
        match (run, error) {
            (Ok(()), None) => {
                self.scripts += 1;
                Ok(())
            }
            (_, error) => Err(error.unwrap_or_default()),
        }
    }

    /// Whether a script is loaded.
    pub fn has(&mut self, digest: &Digest) -> bool {
        let mut has = false;
        let _ = self.protected(|frame| {
            frame.raw_get_at(REGISTRY, SCRIPTS);
            frame.push_bytes(digest);
            frame.raw_get(-2);
            has = frame.kind(-1) == Kind::Function;
        });
        has
    }

    /// Forgets those scripts of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Digest) -> bool) {
        let mut kept = 0;
        let _ = self.protected(|frame| {
            frame.raw_get_at(REGISTRY, SCRIPTS);
            frame.push_nil();
            while frame.next(1) {
                frame.pop(1);
                let digest = frame.bytes(-1).and_then(|bytes| bytes.try_into().ok());
                if digest.is_some_and(&mut keep) {
                    kept += 1;
                } else {
                    // A field that is there may be taken away meanwhile.
                    frame.push_value(-1);
                    frame.push_nil();
                    frame.raw_set(1);
                }
            }
        });
        self.scripts = kept;
        self.collect();
    }

    /// Frees what nothing refers to.
    fn collect(&mut self) {
        // SAFETY: the state is alive; no function of a script is called, as there is nothing that has to be told of its end.
        unsafe { ffi::lua_gc(self.state.as_ptr(), ffi::LUA_GCCOLLECT, 0) };
        self.idle_bytes = self.bytes_held();
    }

    /// Runs a script. `reply` gets what it returns, or its error.
    pub fn run(&mut self, host: &mut dyn Host, invocation: &Invocation<'_>, reply: &mut Vec<u8>) -> Ended {
        let start = reply.len();
        let context = Context::of(self.state.as_ptr());
        let Limits { memory_bytes, time } = invocation.limits;
        context.begin(memory_bytes, time);
        let mut ended = Ended::Stopped(Stop::Memory);
        let run = context.with_host(host, || {
            self.protected(|frame| {
                ended = run(frame, invocation, reply);
                frame.set_top(0);
                if invocation.is_long() {
                    tidy(frame);
                }
            })
        });
        if run.is_err() {
            ended = Ended::Stopped(Stop::Memory);
        }
        if let Some(why) = context.stopped() {
            ended = Ended::Stopped(why);
        }
        context.end();
        if let Ended::Stopped(_) = ended {
            reply.truncate(start);
        }
        if run.is_err() {
            let _ = self.protected(tidy);
        }
        if self.bytes_held() > self.idle_bytes + GARBAGE_BYTES_MAX {
            self.collect();
        }
        ended
    }
}

/// Whether a text could be compiled.
///
/// # Errors
/// What is wrong with it; empty if there is no memory.
pub fn check(text: &[u8]) -> Result<(), Vec<u8>> {
    let mut interpreter = Interpreter::empty().ok_or_else(Vec::new)?;
    let mut error = None;
    let run = interpreter.protected(|frame| {
        if let Err(words) = compile(frame, text) {
            error = Some(words);
        }
    });
    match (run, error) {
        (Ok(()), None) => Ok(()),
        (_, error) => Err(error.unwrap_or_default()),
    }
}

/// Pushes the function of a script.
fn compile(frame: &Frame, text: &[u8]) -> Result<(), Vec<u8>> {
    // What is compiled already is no text.
    let text = if text.first() == Some(&0x1B) { b"?" } else { text };
    match frame.compile(text, NAME) {
        Ok(()) => Ok(()),
        Err(_) => Err(frame.bytes(-1).unwrap_or_default().to_vec()),
    }
}

/// Takes the words away that a script was given.
fn tidy(frame: &Frame) {
    for name in ["KEYS", "ARGV"] {
        frame.push_nil();
        sandbox::set_global(frame, name);
    }
}

fn run(frame: &Frame, invocation: &Invocation<'_>, reply: &mut Vec<u8>) -> Ended {
    for (name, words) in [("KEYS", invocation.keys), ("ARGV", invocation.arguments)] {
        frame.push_table();
        for (index, word) in words.iter().enumerate() {
            frame.push_bytes(word);
            frame.raw_set_at(-2, index as c_int + 1);
        }
        sandbox::set_global(frame, name);
    }
    frame.raw_get_at(REGISTRY, HANDLER);
    frame.raw_get_at(REGISTRY, SCRIPTS);
    frame.push_bytes(invocation.digest);
    frame.raw_get(-2);
    if frame.kind(-1) != Kind::Function {
        return Ended::Unknown;
    }
    // SAFETY: the state runs this.
    unsafe { context::watch(frame.state()) };
    let result = frame.call_protected(0, 1, 1);
    // SAFETY: as above.
    unsafe { context::watch_no_more(frame.state()) };
    let context = frame.context();
    let mut answer = Reply {
        out: reply,
        resp3: invocation.resp3,
        script_resp3: context.resp3.get(),
        bytes_max: context.reply_max.get(),
        depth: 0,
    };
    match result {
        Ok(()) if answer.write(frame) => Ended::Returned,
        Ok(()) => Ended::Stopped(context.stopped().unwrap_or(Stop::Memory)),
        Err(ffi::LUA_ERRMEM) => Ended::Stopped(Stop::Memory),
        Err(_) => {
            fail(frame, invocation.digest, &mut answer);
            Ended::Failed
        }
    }
}

/// Writes the error that is the topmost value.
fn fail(frame: &Frame, digest: &Digest, answer: &mut Reply<'_>) {
    if frame.kind(-1) != Kind::Table {
        return answer.line(b'-', b"ERR Error running script");
    }
    frame.raw_field(-1, "err");
    frame.raw_field(-2, "source");
    frame.raw_field(-3, "line");
    // All of them before anything is put together: a number becomes a string here.
    let text = frame.bytes(-3).unwrap_or(b"ERR unknown error");
    let place = frame.bytes(-2).zip(frame.bytes(-1));
    let mut line = text.to_vec();
    if let Some((source, number)) = place {
        line.extend_from_slice(
            &[b" script: ", &digits(digest)[..], b", on ", source, b":", number, b"."].concat(),
        );
    }
    answer.line(b'-', &line);
}
