//! The library `redis`.

use crate::digest::{digest, digits};
use crate::frame::{Frame, Function, Kind, Raise};
use crate::host::{Level, Stop};
use crate::{number, values};
use std::ffi::c_int;

/// Its functions.
pub(crate) const FUNCTIONS: [(&str, Function); 12] = [
    ("call", call),
    ("pcall", pcall),
    ("sha1hex", sha1hex),
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("log", log),
    ("setresp", setresp),
    ("breakpoint", breakpoint),
    ("debug", nothing),
    ("replicate_commands", replicate_commands),
    ("set_repl", set_repl),
    ("acl_check_cmd", acl_check_cmd),
];

/// Its numbers.
pub(crate) const NUMBERS: [(&str, f64); 9] = [
    ("LOG_DEBUG", 0.0),
    ("LOG_VERBOSE", 1.0),
    ("LOG_NOTICE", 2.0),
    ("LOG_WARNING", 3.0),
    ("REPL_NONE", 0.0),
    ("REPL_AOF", 1.0),
    ("REPL_SLAVE", 2.0),
    ("REPL_REPLICA", 2.0),
    ("REPL_ALL", 3.0),
];

fn call(frame: &Frame) -> Result<c_int, Raise> {
    match run(frame)? {
        true => Err(Raise::Value),
        false => Ok(1),
    }
}

fn pcall(frame: &Frame) -> Result<c_int, Raise> {
    run(frame)?;
    Ok(1)
}

/// Runs a command and pushes its answer. True: that is an error.
fn run(frame: &Frame) -> Result<bool, Raise> {
    let context = frame.context();
    let count = frame.top();
    if count == 0 {
        push_error(frame, b"ERR Please specify at least one argument for this redis lib call");
        return Ok(true);
    }
    match context.request.fill(|out| compose(frame, count, out)) {
        Composed::Whole => {}
        Composed::NoWord => {
            push_error(frame, b"ERR Lua redis lib command arguments must be strings or integers");
            return Ok(true);
        }
        Composed::TooLong => context.stop(Stop::Memory),
    }
    if context.stopped().is_some() {
        return Err(Raise::Stopped);
    }
    let request = context.request.bytes();
    let resp3 = context.resp3.get();
    let asked =
        context.answer.fill(|answer| context.ask(|host| host.call(request, count as usize, resp3, answer)));
    if let Some(Err(why)) = asked {
        context.stop(why);
    }
    let mut answer = context.answer.bytes();
    if context.stopped().is_some()
        || context.charge(CALL_STEPS)
        || context.charge_bytes(request.len() + answer.len())
    {
        return Err(Raise::Stopped);
    }
    let is_error = answer.first() == Some(&b'-');
    // As many arguments as the stack takes leave no room for the answer.
    frame.set_top(0);
    values::push(frame, &mut answer)?;
    Ok(is_error)
}

/// Steps that a command takes beside its bytes.
const CALL_STEPS: usize = 50;

enum Composed {
    Whole,
    /// An argument is neither a string nor a number.
    NoWord,
    /// It takes more memory than the script may.
    TooLong,
}

/// Puts a request together: a string can be named often, so that its length tells nothing of the memory that the script has.
fn compose(frame: &Frame, count: c_int, out: &mut Vec<u8>) -> Composed {
    let bytes_max = frame.context().reply_max.get();
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
    for at in 1..=count {
        let mut text = Vec::new();
        let word = match frame.kind(at) {
            Kind::String => frame.bytes(at).unwrap_or_default(),
            Kind::Number => {
                number::write(frame.number(at), 17, &mut text);
                &text
            }
            _ => return Composed::NoWord,
        };
        if out.len() + word.len() > bytes_max {
            return Composed::TooLong;
        }
        out.push(b'$');
        out.extend_from_slice(digits.format(word.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    Composed::Whole
}

/// Pushes an error as commands give it.
fn push_error(frame: &Frame, text: &[u8]) {
    frame.push_table();
    frame.push_bytes(text);
    frame.set_field(-2, "err");
}

fn error(frame: &Frame, text: &[u8]) -> Result<c_int, Raise> {
    push_error(frame, text);
    Err(Raise::Value)
}

fn sha1hex(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() != 1 {
        return error(frame, b"ERR wrong number of arguments");
    }
    let bytes = frame.bytes(1).unwrap_or_default();
    if frame.context().charge_bytes(bytes.len() * 8) {
        return Err(Raise::Stopped);
    }
    frame.push_bytes(&digits(&digest(bytes)));
    Ok(1)
}

/// Words of an error without a code get one.
fn error_reply(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() != 1 || frame.kind(1) != Kind::String {
        push_error(frame, b"ERR wrong number or type of arguments");
        return Ok(1);
    }
    let text = frame.bytes(1).unwrap_or_default();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    let text = &text[..end];
    frame.push_table();
    let has_code = memchr::memchr(b' ', text).is_some();
    frame.push_bytes(if has_code { b"" } else { b"ERR " });
    frame.push_bytes(text);
    frame.concat(2);
    frame.set_field(-2, "err");
    Ok(1)
}

fn status_reply(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() != 1 || frame.kind(1) != Kind::String {
        push_error(frame, b"ERR wrong number or type of arguments");
        return Ok(1);
    }
    frame.push_table();
    frame.push_value(1);
    frame.set_field(-2, "ok");
    Ok(1)
}

fn log(frame: &Frame) -> Result<c_int, Raise> {
    let count = frame.top();
    if count < 2 {
        return error(frame, b"ERR redis.log() requires two arguments or more.");
    }
    if frame.kind(1) != Kind::Number {
        return error(frame, b"ERR First argument must be a number (log level).");
    }
    let level = match number::to_i64(frame.number(1)) {
        0 => Level::Debug,
        1 => Level::Verbose,
        2 => Level::Notice,
        3 => Level::Warning,
        _ => return error(frame, b"ERR Invalid debug level."),
    };
    for at in 2..=count {
        // A number becomes a string, where it lies.
        frame.bytes(at);
    }
    let context = frame.context();
    context.text.fill(|out| {
        for at in 2..=count {
            if at > 2 {
                out.push(b' ');
            }
            if frame.kind(at) == Kind::String && out.len() < LOGGED_BYTES_MAX {
                let word = frame.bytes(at).unwrap_or_default();
                out.extend_from_slice(&word[..word.len().min(LOGGED_BYTES_MAX)]);
            }
        }
    });
    context.ask(|host| host.log(level, context.text.bytes()));
    if context.charge(LOG_STEPS) { Err(Raise::Stopped) } else { Ok(0) }
}

/// Bytes of a word in the log.
const LOGGED_BYTES_MAX: usize = 1024;
/// Steps that a line in the log takes.
const LOG_STEPS: usize = 5_000;

fn setresp(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() != 1 {
        return error(frame, b"ERR redis.setresp() requires one argument.");
    }
    let version = frame.number(1);
    if version != 2.0 && version != 3.0 {
        return error(frame, b"ERR RESP version must be 2 or 3.");
    }
    frame.context().resp3.set(version == 3.0);
    Ok(0)
}

/// There is no debugger.
fn breakpoint(frame: &Frame) -> Result<c_int, Raise> {
    frame.push_boolean(false);
    Ok(1)
}

fn nothing(_: &Frame) -> Result<c_int, Raise> {
    Ok(0)
}

/// Nothing is replicated, and what is done is done by effect.
fn replicate_commands(frame: &Frame) -> Result<c_int, Raise> {
    frame.push_boolean(true);
    Ok(1)
}

fn set_repl(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() != 1 {
        return error(frame, b"ERR redis.set_repl() requires two arguments.");
    }
    match number::to_i64(frame.number(1)) {
        0..=3 => Ok(0),
        _ => {
            error(frame, b"ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
        }
    }
}

/// Everybody may do everything.
fn acl_check_cmd(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() == 0 {
        return error(frame, b"ERR Please specify at least one argument for this redis lib call");
    }
    frame.push_boolean(true);
    Ok(1)
}
