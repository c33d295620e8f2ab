//! DEBUG: what suites of tests ask for, if `--enable-debug-command` is set.

use super::call::{Call, keyed, part};
use super::client::Client;
use super::error::Error;
use super::errors::repeated;
use super::local::LocalCall;
use super::reply_kind::{Fact, Kind};
use crate::session::part::{Part, Work};
use torc_engine::command::{Op, Read};
use torc_proto::resp::compose;

/// Longest sleep, milliseconds.
const SLEEP_MS_MAX: f64 = 60_000.0;

/// SLEEP and OBJECT. Says whether it is one of them.
pub(super) fn parts<'a>(call: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<bool, Error> {
    if !call.limits.debug_commands {
        return Ok(false);
    }
    let word = call.argument(1);
    if word.eq_ignore_ascii_case(b"SLEEP") && call.len() == 3 {
        // As in Redis what is no number is none.
        let seconds = std::str::from_utf8(call.argument(2)).ok().and_then(|text| text.parse::<f64>().ok());
        let ms = (seconds.unwrap_or_default() * 1000.0).clamp(0.0, SLEEP_MS_MAX) as u64;
        parts.push(part(Work::Sleep { ms }, Kind::Ok, &[]));
    } else if word.eq_ignore_ascii_case(b"OBJECT") && call.len() == 3 {
        let op = Op::Read(Read::LOOK);
        parts.push(keyed(call.key(2)?, op, Kind::Object(Fact::All)));
    } else {
        return Ok(false);
    }
    Ok(true)
}

pub(super) fn debug(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if !call.context.server.has_debug_commands() {
        return compose::error(
            out,
            b"ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from \
              a local connection, otherwise you need to set this option in the configuration file, and then restart the \
              server.",
        );
    }
    if call.is(1, "SET-ACTIVE-EXPIRE") && call.words.len() == 3 {
        // What has expired is never told, whether it has been removed or not.
        return compose::simple(out, "OK");
    }
    if call.is(1, "ERROR") && call.words.len() == 3 {
        return compose::error(out, call.word(2));
    }
    if call.is(1, "HELP") && call.words.len() == 2 {
        compose::array(out, HELP.len());
        return HELP.iter().for_each(|line| compose::simple(out, line));
    }
    let text = b"ERR unknown subcommand or wrong number of arguments for '";
    compose::error(out, &[&text[..], repeated(call.word(1)), b"'. Try DEBUG HELP."].concat());
}

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR <string>",
    "    Answers with this error, so that clients can try what they do about it.",
    "OBJECT <key>",
    "    Facts of a value.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Makes no difference: what has expired is never told.",
    "SLEEP <seconds>",
    "    Answers so late, 60 seconds at most; commands of others wait meanwhile, as under CLIENT PAUSE.",
    "HELP",
    "    Prints this help.",
];
