//! The connection's own affairs: HELLO, CLIENT, PING and their like.

use super::call::{Call, local};
use super::client::{Client, Mute};
use super::error::Error;
use super::local::{LocalCall, Subcommand};
use super::reply_kind::Kind;
use crate::session::context::ComposeContext;
use crate::session::part::Part;
use crate::session::protocol::Port;
use crate::users::DEFAULT_USER;
use torc_proto::resp::compose::{self, Version};
use torc_proto::resp::parse_i64;

/// The release of Redis whose commands and words are spoken.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn ping<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    parts.push(match call.len() {
        1 => local(Kind::Pong, &[]),
        2 => local(Kind::Message, call.argument(1)),
        _ => return Err(Error::WrongArguments(call.row.name)),
    });
    Ok(())
}

pub(super) fn echo<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    parts.push(local(Kind::Message, call.argument(1)));
    Ok(())
}

/// The database that a SELECT chooses, if it may.
pub(super) fn chosen(word: &[u8], port: Port, databases: u16) -> Option<u16> {
    let number = parse_i64(word).and_then(|number| u16::try_from(number).ok())?;
    (number < if port == Port::Shard { 1 } else { databases }).then_some(number)
}

pub(super) fn select(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(database) = chosen(call.word(1), call.port, call.context.server.databases()) {
        client.database = database;
        return compose::simple(out, "OK");
    }
    match parse_i64(call.word(1)) {
        None => compose::error(out, b"ERR value is not an integer or out of range"),
        Some(number) if i32::try_from(number).is_err() => {
            compose::error(out, b"ERR value is out of range, value must between -2147483648 and 2147483647")
        }
        Some(_) if call.port == Port::Shard => {
            compose::error(out, b"ERR SELECT is not allowed in cluster mode");
        }
        Some(_) => compose::error(out, b"ERR DB index is out of range"),
    }
}

pub(super) fn auth(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let (user, password) = match call.words.len() {
        2 if !call.context.server.has_password() => {
            return compose::error(
                out,
                b"ERR AUTH <password> called without any password configured for the default user. \
              Are you sure your configuration is correct?",
            );
        }
        2 => (DEFAULT_USER.as_bytes(), call.word(1)),
        3 => (call.word(1), call.word(2)),
        _ => return compose::error(out, b"ERR syntax error"),
    };
    if is_admitted(call, user, password, out) {
        compose::simple(out, "OK");
    }
}

/// Whether the password of a request was right, which is written if it was not.
fn is_admitted(call: &LocalCall<'_>, user: &[u8], password: &[u8], out: &mut Vec<u8>) -> bool {
    let server = call.context.server;
    // Without passwords the default user gets in with any, as in Redis.
    let is_admitted = match call.entered {
        Some(is_through) => is_through,
        None if server.has_password() => server.admits(user, password),
        None => user == DEFAULT_USER.as_bytes(),
    };
    if !is_admitted {
        compose::error(out, WRONG_PASSWORD);
    }
    is_admitted
}

const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";

/// What a HELLO asks for.
pub(super) struct Hello<'w> {
    pub version: Option<Version>,
    name: Option<&'w [u8]>,
    /// User and password.
    pub credentials: Option<(&'w [u8], &'w [u8])>,
}

impl<'w> Hello<'w> {
    /// Whether it is accepted without that anybody looks at a password. Without passwords the default user gets in with any, as in Redis.
    pub(super) fn is_accepted(&self, is_locked: bool) -> bool {
        match self.credentials {
            None => !is_locked,
            Some((user, _)) => user == DEFAULT_USER.as_bytes(),
        }
    }

    /// Reads the words of a request.
    ///
    /// # Errors
    /// The text of the error that it is answered with.
    pub(super) fn of(words: &[&'w [u8]]) -> Result<Hello<'w>, Vec<u8>> {
        let mut hello = Hello { version: None, name: None, credentials: None };
        if let Some(version) = words.get(1) {
            hello.version = match parse_i64(version) {
                None => return Err(b"ERR Protocol version is not an integer or out of range".to_vec()),
                Some(2) => Some(Version::Resp2),
                Some(3) => Some(Version::Resp3),
                Some(_) => return Err(b"NOPROTO unsupported protocol version".to_vec()),
            };
        }
        let mut rest = words.get(2..).unwrap_or_default();
        while let Some((option, behind)) = rest.split_first() {
            rest = match behind {
                [user, password, behind @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                    hello.credentials = Some((user, password));
                    behind
                }
                [name, behind @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                    check_name(name, "Client names")?;
                    hello.name = Some(name);
                    behind
                }
                _ => return Err([b"ERR Syntax error in HELLO option '", *option, b"'"].concat()),
            };
        }
        Ok(hello)
    }
}

pub(super) fn hello(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let words: Vec<&[u8]> = call.words.iter().map(Vec::as_slice).collect();
    match Hello::of(&words) {
        Err(text) => compose::error(out, &text),
        Ok(hello) => {
            if let Some((user, password)) = hello.credentials
                && !is_admitted(call, user, password, out)
            {
                return;
            }
            if client.is_locked {
                return compose::error(out, HELLO_LOCKED);
            }
            hello.name.into_iter().for_each(|name| client.name = name.into());
            client.version = hello.version.unwrap_or(client.version);
            greet(client, call, out);
        }
    }
}

const HELLO_LOCKED: &[u8] = b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
    <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";

fn greet(client: &Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let bulk = |out: &mut Vec<u8>, text: &str| compose::bulk(out, text.as_bytes());
    compose::map(out, 7, client.version);
    for (name, value) in [("server", "torc"), ("version", REDIS_VERSION)] {
        bulk(out, name);
        bulk(out, value);
    }
    bulk(out, "proto");
    compose::integer(out, version_number(client.version));
    bulk(out, "id");
    compose::integer(out, id(call.context));
    for (name, value) in [("mode", call.mode()), ("role", "master")] {
        bulk(out, name);
        bulk(out, value);
    }
    bulk(out, "modules");
    compose::array(out, 0);
}

pub(super) fn version_number(version: Version) -> i64 {
    match version {
        Version::Resp2 => 2,
        Version::Resp3 => 3,
    }
}

fn id(context: &ComposeContext<'_>) -> i64 {
    i64::try_from(context.connection).unwrap_or(i64::MAX)
}

pub(super) fn reset(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    client.version = Version::Resp2;
    client.mute = None;
    client.database = 0;
    client.is_locked = call.context.server.has_password();
    client.name = Box::default();
    compose::simple(out, "RESET");
}

pub(super) fn client(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(CLIENT, out) {
        run(client, call, out);
    }
}

const CLIENT: &[Subcommand] = &[
    Subcommand { name: "id", run: |_, call, out| compose::integer(out, id(call.context)) },
    Subcommand { name: "setname", run: set_name },
    Subcommand { name: "getname", run: name },
    Subcommand { name: "setinfo", run: set_info },
    Subcommand { name: "reply", run: reply },
    Subcommand { name: "no-evict", run: on_or_off },
    Subcommand { name: "no-touch", run: on_or_off },
    Subcommand { name: "pause", run: pause },
    Subcommand { name: "unpause", run: go_on },
    Subcommand { name: "unblock", run: unblock },
];

fn set_name(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if rename(&mut client.name, call.word(2), "Client names", out) {
        compose::simple(out, "OK");
    }
}

fn name(client: &mut Client, _: &LocalCall<'_>, out: &mut Vec<u8>) {
    if client.name.is_empty() {
        compose::null(out, client.version);
    } else {
        compose::bulk(out, &client.name);
    }
}

/// Longest name of a client or library, bytes: it is kept as long as the connection.
const NAME_BYTES_MAX: usize = 256;

/// Takes a name that can stand in a line of CLIENT LIST; else the error is written.
fn rename(kept: &mut Box<[u8]>, name: &[u8], what: &str, out: &mut Vec<u8>) -> bool {
    match check_name(name, what) {
        Err(text) => {
            compose::error(out, &text);
            false
        }
        Ok(()) => {
            *kept = name.into();
            true
        }
    }
}

/// Whether a name can stand there.
///
/// # Errors
/// The text of the error.
fn check_name(name: &[u8], what: &str) -> Result<(), Vec<u8>> {
    let is_printable = name.iter().all(|byte| (b'!'..=b'~').contains(byte));
    match is_printable {
        false => Err(format!("ERR {what} cannot contain spaces, newlines or special characters.").into()),
        true if name.len() > NAME_BYTES_MAX => {
            Err(format!("ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes").into())
        }
        true => Ok(()),
    }
}

fn set_info(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let (kept, what) = if call.is(2, "LIB-NAME") {
        (&mut client.library_name, "lib-name")
    } else if call.is(2, "LIB-VER") {
        (&mut client.library_version, "lib-ver")
    } else {
        let text = [b"ERR Unrecognized option '", call.word(2), b"'"].concat();
        return compose::error(out, &text);
    };
    if rename(kept, call.word(3), what, out) {
        compose::simple(out, "OK");
    }
}

fn reply(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if call.is(2, "ON") {
        client.mute = None;
        client.is_heard = true;
        compose::simple(out, "OK");
    } else if call.is(2, "OFF") {
        client.mute = Some(Mute::Off);
    } else if call.is(2, "SKIP") {
        match client.in_transaction {
            true => client.skips_next = client.mute != Some(Mute::Off),
            false => _ = client.mute.get_or_insert(Mute::Skip),
        }
    } else {
        compose::error(out, b"ERR syntax error");
    }
}

fn pause(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let all = match call.words.len() {
        3 => true,
        4 if call.is(3, "ALL") => true,
        4 if call.is(3, "WRITE") => false,
        4 => return compose::error(out, b"ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => {
            let text = b"ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.";
            return compose::error(out, text);
        }
    };
    let Some(ms) = parse_i64(call.word(2)) else {
        return compose::error(out, b"ERR timeout is not an integer or out of range");
    };
    let Ok(ms) = u64::try_from(ms) else { return compose::error(out, b"ERR timeout is negative") };
    let now = call.context.now;
    call.context.server.pause(now, now.saturating_add(ms), all);
    compose::simple(out, "OK");
}

fn go_on(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    call.context.server.go_on();
    compose::simple(out, "OK");
}

/// No client is ever blocked.
fn unblock(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let known = call.words.len() == 3 || call.is(3, "TIMEOUT") || call.is(3, "ERROR");
    match parse_i64(call.word(2)) {
        _ if call.words.len() > 4 || !known => {
            compose::error(out, b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        }
        None => compose::error(out, b"ERR value is not an integer or out of range"),
        Some(_) => compose::integer(out, 0),
    }
}

/// What makes no difference to answers: who holds much memory may be closed all the same, and accesses are
/// [parsing's](super::clients::touch) affair.
fn on_or_off(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if call.is(2, "ON") || call.is(2, "OFF") {
        compose::simple(out, "OK");
    } else {
        compose::error(out, b"ERR syntax error");
    }
}
