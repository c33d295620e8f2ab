//! Torc's own verbs over the native protocol, by the client library: it finds the shards, reconnects, and
//! does each change once.
//!
//! A line is `verb operands options`, options as `name=value` or a bare name: `set k v ttl=60s old`.

mod line;
mod run;

use super::resp::{Login, Resp};
use super::{Answered, CliArgs, Speaker, Transport, big_keys, stream};
use crate::exit::Failure;
use line::Line;
use run::{changed, count, delete, flush, get, hot_keys, set, statistics, topology, touch};
use std::time::Duration;
use torc_client::{Client, Config, Credentials, Error, OneSidedReads, RdmaConfig, RdmaUse};
/// A client that speaks native.
pub(super) struct Native {
    client: Client,
    server: String,
    timeout: Duration,
    login: Option<Login>,
}

impl Native {
    pub(super) fn new(args: &CliArgs, timeout: Duration) -> Result<Native, Failure> {
        let (server, transport) = (args.server.as_str(), args.transport());
        // The library tries again for as long as a request may take; whoever sits at a prompt wants to know at once.
        drop(stream::connect(server, timeout)?);
        let mut config = Config::new(server.strip_prefix("tcp://").unwrap_or(server));
        config.transport = match transport {
            Transport::Auto => torc_client::Transport::Auto,
            Transport::Socket => torc_client::Transport::Socket,
            Transport::Shm | Transport::ShmRead => torc_client::Transport::SharedMemory,
            Transport::Rdma | Transport::RdmaRead => torc_client::Transport::Rdma,
        };
        config.rdma = RdmaConfig {
            device: args.device.device.clone(),
            port: args.device.port,
            gid: args.device.gid,
            traffic_class: args.device.traffic_class,
            reads: transport == Transport::RdmaRead,
            ..RdmaConfig::default()
        };
        config.one_sided = transport != Transport::Shm;
        config.timeout = timeout;
        config.connect_timeout = timeout;
        let login = args.login.read().map_err(Failure::Failed)?;
        config.credentials = login.clone().map(|(user, password)| Credentials { user, password });
        config.name = "torc-cli".into();
        let client = Client::with(config).map_err(Failure::failed)?;
        Ok(Native { client, server: server.to_owned(), timeout, login })
    }

    /// The keys that take most memory. The native protocol has no walk over keys.
    fn big_keys(&self, line: &Line<'_>) -> Result<String, Trouble> {
        let count = line.shown(big_keys::SHOWN)?.min(big_keys::SHOWN_MAX);
        let mut server = Resp::open(&self.server, self.timeout, self.login.clone())?;
        Ok(big_keys::find(&mut server, count)?)
    }
}

impl Speaker for Native {
    fn ask(&mut self, words: &[Vec<u8>]) -> Result<Answered, Failure> {
        let error = |text: String| Ok(Answered { text: format!("(error) {text}\n"), is_error: true });
        let Some((verb, words)) = words.split_first() else { return error("no command".into()) };
        let name = String::from_utf8_lossy(verb).to_ascii_lowercase();
        let Some(verb) = COMMANDS.iter().find(|command| command.name == name) else {
            return error(format!("there is no '{name}'; try help, or --protocol resp for Redis commands"));
        };
        let Some(line) = Line::read(words, verb) else {
            return error(format!("usage: {} {}", verb.name, verb.usage));
        };
        let answered = match verb.run {
            Run::Asks(run) => run(&self.client, &line),
            Run::Walks => self.big_keys(&line),
        };
        match answered {
            Ok(text) => Ok(Answered { text, is_error: false }),
            Err(Trouble::Usage(reason)) => error(format!("{reason}; usage: {} {}", verb.name, verb.usage)),
            Err(Trouble::Client(Error::Unreachable { address, cause })) => Err(Failure::Failed(format!(
                "{address}: {cause}; is the server running there? Start one with: torc serve"
            ))),
            Err(Trouble::Failed(failure)) => Err(failure),
            Err(Trouble::Client(refused)) => error(refused.to_string()),
        }
    }

    fn transport(&mut self) -> Result<String, Failure> {
        self.client.ping().wait().map_err(Failure::failed)?;
        Ok(carrier(self.client.transport(), &self.client.one_sided()) + &fallbacks(&self.client.rdma()))
    }

    fn verbs(&self) -> &'static [&'static str] {
        VERBS
    }
}

/// What carries requests, and what came of gets that needed none.
fn carrier(transport: Option<torc_client::Transport>, reads: &OneSidedReads) -> String {
    let mut text = match transport {
        Some(torc_client::Transport::SharedMemory) => "shared memory".to_owned(),
        Some(torc_client::Transport::Rdma) => "RDMA".to_owned(),
        _ => "a socket".to_owned(),
    };
    match &reads.why_not {
        _ if reads.active => text.push_str(", gets read it themselves"),
        Some(why) => text.push_str(&format!(", gets are asked for: {why}")),
        None => {}
    }
    if reads.hits + reads.misses > 0 {
        text.push_str(&format!("; {} gets read", reads.hits + reads.misses));
    }
    let causes: Vec<String> = reads.asked.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    if !causes.is_empty() {
        text.push_str(&format!("; asked for all the same: {}", causes.join(", ")));
    }
    text
}

/// What RDMA was given up for, or not come to, if it was.
fn fallbacks(rdma: &RdmaUse) -> String {
    let Some(last) = &rdma.last else { return String::new() };
    let causes: Vec<String> =
        rdma.fallbacks.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    format!("; RDMA failed: {}; at last: {last}", causes.join(", "))
}

/// Why a line came to nothing.
enum Trouble {
    Usage(String),
    Client(Error),
    Failed(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failed(failure)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Client(error)
    }
}

#[derive(Clone, Copy)]
enum Run {
    Asks(Ask),
    /// Looks at all keys, which is not in the native protocol.
    Walks,
}

type Ask = fn(&Client, &Line<'_>) -> Result<String, Trouble>;

struct Command {
    name: &'static str,
    usage: &'static str,
    /// Least and most words before the options.
    operands: (usize, usize),
    options: &'static [&'static str],
    run: Run,
}

impl Command {
    /// A line that says how it is used.
    fn line(&self) -> String {
        format!("{}\n", format!("{} {}", self.name, self.usage).trim_end())
    }
}

const fn command(
    name: &'static str,
    usage: &'static str,
    operands: (usize, usize),
    options: &'static [&'static str],
    ask: Ask,
) -> Command {
    Command { name, usage, operands, options, run: Run::Asks(ask) }
}

/// In the order of [`COMMANDS`], for completion.
const VERBS: &[&str] = &[
    "get",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "delete",
    "touch",
    "increment",
    "decrement",
    "ping",
    "statistics",
    "hotkeys",
    "bigkeys",
    "topology",
    "flush",
    "help",
];

const COMMANDS: &[Command] = &[
    command(
        "get",
        "KEY... [touch=TIME] [peek] [leases] [vivify=TIME]",
        (1, 1000),
        &["touch", "peek", "leases", "vivify"],
        get,
    ),
    command(
        "set",
        "KEY VALUE [ttl=TIME] [keep-ttl] [flags=N] [compare=TOKEN] [old] [durable|at-once]",
        (2, 2),
        WRITE,
        |c, l| set(c.set(l.bytes(0), l.bytes(1)), l),
    ),
    command("add", "KEY VALUE [ttl=TIME] [flags=N] [durable|at-once]", (2, 2), WRITE, |c, l| {
        set(c.set(l.bytes(0), l.bytes(1)).add(), l)
    }),
    command(
        "replace",
        "KEY VALUE [ttl=TIME] [keep-ttl] [flags=N] [durable|at-once]",
        (2, 2),
        WRITE,
        |c, l| set(c.set(l.bytes(0), l.bytes(1)).replace(), l),
    ),
    command("append", "KEY BYTES [durable|at-once]", (2, 2), DURABILITY, |c, l| {
        Ok(changed(&l.wish(c.append(l.bytes(0), l.bytes(1))).wait()?))
    }),
    command("prepend", "KEY BYTES [durable|at-once]", (2, 2), DURABILITY, |c, l| {
        Ok(changed(&l.wish(c.prepend(l.bytes(0), l.bytes(1))).wait()?))
    }),
    command(
        "delete",
        "KEY [compare=TOKEN] [stale=TIME] [old] [durable|at-once]",
        (1, 1),
        &["compare", "stale", "old", "durable", "at-once"],
        delete,
    ),
    command(
        "touch",
        "KEY TIME|never [if=unset|set|later|earlier] [durable|at-once]",
        (2, 2),
        &["if", "durable", "at-once"],
        touch,
    ),
    command("increment", "KEY [STEP] [initial=N] [durable|at-once]", (1, 2), COUNT, |c, l| {
        count(c.increment(l.bytes(0), l.step()?), l)
    }),
    command("decrement", "KEY [STEP] [initial=N] [durable|at-once]", (1, 2), COUNT, |c, l| {
        count(c.decrement(l.bytes(0), l.step()?), l)
    }),
    command("ping", "", (0, 0), &[], |c, _| Ok(c.ping().wait().map(|()| "pong\n".to_owned())?)),
    command("statistics", "[SECTION]", (0, 1), &[], statistics),
    command("hotkeys", "[COUNT]", (0, 1), &[], hot_keys),
    Command { name: "bigkeys", usage: "[COUNT]", operands: (0, 1), options: &[], run: Run::Walks },
    command("topology", "", (0, 0), &[], topology),
    command("flush", "[after=TIME] [durable|at-once]", (0, 0), &["after", "durable", "at-once"], flush),
    command("help", "", (0, 0), &[], |_, _| Ok(help())),
];

const WRITE: &[&str] = &["ttl", "keep-ttl", "flags", "compare", "old", "durable", "at-once"];
const COUNT: &[&str] = &["initial", "durable", "at-once"];
const DURABILITY: &[&str] = &["durable", "at-once"];

/// How a command is used, if there is such a one.
pub(super) fn usage(verb: &str) -> Option<String> {
    COMMANDS.iter().find(|command| command.name.eq_ignore_ascii_case(verb)).map(Command::line)
}

pub(super) fn help() -> String {
    let mut text: String = COMMANDS.iter().map(Command::line).collect();
    text.push_str(
        "TIME is 500ms, 10s, 2m; words are quoted as \"a\\n\\x00\" or 'a b'; exit or Ctrl-D ends\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_carrier_is_told_with_what_came_of_gets() {
        let shared = Some(torc_client::Transport::SharedMemory);
        let mut reads = OneSidedReads { active: true, ..OneSidedReads::default() };
        assert_eq!(carrier(shared, &reads), "shared memory, gets read it themselves");
        (reads.hits, reads.misses, reads.asked) = (3, 1, vec![("lease", 2), ("order", 1)]);
        let told =
            "shared memory, gets read it themselves; 4 gets read; asked for all the same: lease 2, order 1";
        assert_eq!(carrier(shared, &reads), told);
        let refused = OneSidedReads { why_not: Some("why".into()), ..OneSidedReads::default() };
        assert_eq!(carrier(shared, &refused), "shared memory, gets are asked for: why");
        assert_eq!(carrier(Some(torc_client::Transport::Socket), &OneSidedReads::default()), "a socket");
        assert_eq!(carrier(Some(torc_client::Transport::Rdma), &OneSidedReads::default()), "RDMA");
    }

    #[test]
    fn rdma_that_came_to_nothing_is_told_with_its_causes() {
        assert_eq!(fallbacks(&RdmaUse::default()), "");
        let fallen = vec![("link", 2), ("refused", 1)];
        let rdma = RdmaUse { fallbacks: fallen, last: Some("why".into()), ..RdmaUse::default() };
        assert_eq!(fallbacks(&rdma), "; RDMA failed: link 2, refused 1; at last: why");
    }

    #[test]
    fn verbs_and_commands_are_the_same() {
        assert!(COMMANDS.iter().map(|command| command.name).eq(VERBS.iter().copied()));
    }

    #[test]
    fn options_stand_behind_operands_and_values_may_look_like_them() {
        let set = &COMMANDS[1];
        let given = words("k ttl=5 ttl=60s old");
        let line = Line::read(&given, set).expect("a good line");
        assert_eq!(line.operands, [&b"k"[..], b"ttl=5"]);
        assert_eq!(line.options, [("ttl", "60s"), ("old", "")]);
        for wrong in ["k", "k v w", "k v ttl=1s w", "k v nosuch=1"] {
            assert!(Line::read(&words(wrong), set).is_none(), "{wrong}");
        }
    }

    #[test]
    fn options_are_read_by_their_grammar() {
        let set = &COMMANDS[1];
        let given = words("k v ttl=60 flags=x");
        let line = Line::read(&given, set).expect("a good line");
        assert!(matches!(line.time("ttl"), Err(Trouble::Usage(reason)) if reason.contains("60s")));
        assert!(line.number::<u32>("flags").is_err());
        assert!(matches!(line.number::<u64>("compare"), Ok(None)));
    }
}
