//! Torc's own verbs over the native protocol, by the client library: it finds the shards, reconnects, and
//! does each change once.
//!
//! A line is `verb operands options`, options as `name=value` or a bare name: `set k v ttl=60s old`.

use super::print::quoted;
use super::resp::{Login, Resp};
use super::{Answered, CliArgs, Speaker, Transport, big_keys, stream};
use crate::config::value::duration;
use crate::exit::Failure;
use std::time::Duration;
use torc_client::{
    Changed, Client, Config, Credentials, Done, Error, Expiry, Item, Lease, OneSidedReads, RdmaConfig,
    RdmaUse, TouchIf,
};

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

/// The words behind a verb, sorted.
struct Line<'w> {
    operands: Vec<&'w [u8]>,
    options: Vec<(&'static str, &'w str)>,
}

impl<'w> Line<'w> {
    /// `None` if the words do not fit the command. Options are looked for only behind the least operands, so
    /// that a value may look like one.
    fn read(words: &'w [Vec<u8>], command: &Command) -> Option<Line<'w>> {
        let mut line = Line { operands: Vec::new(), options: Vec::new() };
        for word in words {
            let option = || {
                let text = std::str::from_utf8(word).ok()?;
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                Some((*command.options.iter().find(|known| **known == name)?, value))
            };
            match option().filter(|_| line.operands.len() >= command.operands.0) {
                Some(option) => line.options.push(option),
                None if line.options.is_empty() => line.operands.push(word),
                None => return None,
            }
        }
        (command.operands.0..=command.operands.1).contains(&line.operands.len()).then_some(line)
    }

    /// An operand; those that a command asks for are there.
    fn bytes(&self, index: usize) -> &'w [u8] {
        self.operands.get(index).copied().unwrap_or_default()
    }

    /// How many lines are to be shown.
    fn shown(&self, usually: usize) -> Result<usize, Trouble> {
        match self.bytes(0) {
            b"" => Ok(usually),
            word => {
                let count = String::from_utf8_lossy(word).parse();
                count.map_err(|_| Trouble::Usage("COUNT is a number".into()))
            }
        }
    }

    fn option(&self, name: &str) -> Option<&'w str> {
        self.options.iter().find(|(option, _)| *option == name).map(|(_, value)| *value)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Trouble> {
        let number =
            |text: &str| text.parse().map_err(|_| Trouble::Usage(format!("{name}={text} is no number")));
        self.option(name).map(number).transpose()
    }

    fn time(&self, name: &str) -> Result<Option<Duration>, Trouble> {
        self.option(name).map(time).transpose()
    }

    /// The request, with what the line says of durability.
    fn wish<A: torc_client::request::Change>(
        &self,
        request: torc_client::Request<A>,
    ) -> torc_client::Request<A> {
        match (self.option("durable"), self.option("at-once")) {
            (Some(_), _) => request.durable(),
            (None, Some(_)) => request.at_once(),
            (None, None) => request,
        }
    }

    fn step(&self) -> Result<u64, Trouble> {
        let Some(step) = self.operands.get(1) else { return Ok(1) };
        let text = String::from_utf8_lossy(step);
        text.parse().map_err(|_| Trouble::Usage(format!("the step '{text}' is no number")))
    }
}

fn time(text: &str) -> Result<Duration, Trouble> {
    match duration(text) {
        Ok(Some(time)) => Ok(time),
        Ok(None) => Err(Trouble::Usage(format!("'{text}' is no time to live; write 500ms, 10s, 2m"))),
        Err(reason) => Err(Trouble::Usage(format!("'{text}' {reason}"))),
    }
}

fn get(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    if line.operands.len() > 1 && line.options.is_empty() {
        let items = client.get_many(&line.operands).wait()?;
        return Ok(items.iter().map(|found| item(found.as_ref())).collect());
    }
    if line.operands.len() > 1 {
        return Err(Trouble::Usage("options go with one key".into()));
    }
    let mut request = client.get(line.bytes(0)).with_meta();
    if let Some(ttl) = line.time("touch")? {
        request = request.touch(ttl);
    }
    if let Some(ttl) = line.time("vivify")? {
        request = request.vivify(ttl);
    }
    if line.option("peek").is_some() {
        request = request.peek();
    }
    if line.option("leases").is_some() {
        request = request.leases();
    }
    Ok(item(request.wait()?.as_ref()))
}

type SetRequest = torc_client::Request<torc_client::request::Set>;

fn set(mut request: SetRequest, line: &Line<'_>) -> Result<String, Trouble> {
    if let Some(ttl) = line.time("ttl")? {
        request = request.ttl(ttl);
    }
    if line.option("keep-ttl").is_some() {
        request = request.keep_ttl();
    }
    if let Some(flags) = line.number("flags")? {
        request = request.flags(flags);
    }
    if let Some(token) = line.number("compare")? {
        request = request.compare(token);
    }
    if line.option("old").is_some() {
        request = request.want_old();
    }
    Ok(changed(&line.wish(request).wait()?))
}

fn delete(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let mut request = client.delete(line.bytes(0));
    if let Some(token) = line.number("compare")? {
        request = request.compare(token);
    }
    if let Some(ttl) = line.time("stale")? {
        request = request.stale(ttl);
    }
    if line.option("old").is_some() {
        request = request.want_old();
    }
    let answer = line.wish(request).wait()?;
    Ok(match answer.done {
        Done::Done => format!("deleted\n{}", old(&answer)),
        _ => changed(&answer),
    })
}

fn touch(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let text = String::from_utf8_lossy(line.bytes(1)).into_owned();
    let mut request = match text.as_str() {
        "never" => client.expire(line.bytes(0), Expiry::Never),
        _ => client.touch(line.bytes(0), time(&text)?),
    };
    if let Some(condition) = line.option("if") {
        request = request.only_if(match condition {
            "unset" => TouchIf::Unset,
            "set" => TouchIf::Set,
            "later" => TouchIf::Later,
            "earlier" => TouchIf::Earlier,
            _ => return Err(Trouble::Usage(format!("if={condition} is no condition"))),
        });
    }
    let answer = line.wish(request).wait()?;
    Ok(if answer.is_done() { "touched\n".into() } else { changed(&answer) })
}

type CountRequest = torc_client::Request<torc_client::request::Count>;

fn count(mut request: CountRequest, line: &Line<'_>) -> Result<String, Trouble> {
    if let Some(initial) = line.number("initial")? {
        request = request.initial(initial, Expiry::Never);
    }
    Ok(match line.wish(request).wait()? {
        Some(number) => format!("{number}\n"),
        None => "(missing)\n".into(),
    })
}

/// Lines that `hotkeys` shows without a number.
const HOT_KEYS: usize = 16;

/// The keys that are asked for most: the share of a sample of requests that each has, and the database, if it is not 0.
fn hot_keys(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let count = line.shown(HOT_KEYS)?;
    let figures = client.statistics("hotkeys").wait()?;
    let mut lines = figures.iter();
    let sampled =
        lines.next().and_then(|(_, value)| value.parse::<f64>().ok()).filter(|sampled| *sampled > 0.0);
    let Some(sampled) = sampled else { return Ok("no requests were sampled yet\n".into()) };
    let mut text = String::new();
    for (key, value) in lines.take(count) {
        let (requests, database) = value.split_once(' ').unwrap_or((value, "0"));
        let share = requests.parse::<f64>().unwrap_or_default() * 100.0 / sampled;
        let database = if database == "0" { String::new() } else { format!(" in database {database}") };
        text.push_str(&format!("{share:6.2}% {key}{database}\n"));
    }
    Ok(text)
}

fn statistics(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let figures = client.statistics(&String::from_utf8_lossy(line.bytes(0))).wait()?;
    let width = figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    Ok(figures.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect())
}

fn topology(client: &Client, _: &Line<'_>) -> Result<String, Trouble> {
    let topology = client.topology().wait()?;
    let mut text = format!("epoch {}\n", topology.epoch);
    for shard in &topology.shards {
        let ranges = topology.ranges.iter().filter(|range| range.shard == shard.shard);
        let slots: Vec<String> = ranges.map(|range| format!("{}-{}", range.first, range.last)).collect();
        text.push_str(&format!(
            "shard {} at {}:{}: slots {}\n",
            shard.shard,
            shard.host,
            shard.port,
            slots.join(", ")
        ));
    }
    Ok(text)
}

fn flush(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let request = line.wish(client.flush());
    match line.time("after")? {
        Some(after) => request.after(after).wait()?,
        None => request.wait()?,
    }
    Ok("flushed\n".into())
}

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

/// The value, and below it what else is known of the item.
fn item(item: Option<&Item>) -> String {
    let Some(item) = item else { return "(missing)\n".into() };
    let mut facts = vec![format!("token {}", item.token)];
    if item.flags != 0 {
        facts.push(format!("flags {}", item.flags));
    }
    if let Some(meta) = &item.meta {
        facts.push(match meta.remaining_ms {
            None => "never expires".into(),
            Some(ms) => format!("expires in {}.{:03}s", ms / 1000, ms % 1000),
        });
    }
    if item.stale {
        facts.push("stale".into());
    }
    match item.lease {
        Lease::None => {}
        Lease::Won => facts.push("the lease is yours: bring the new value".into()),
        Lease::Given => facts.push("another has the lease".into()),
    }
    format!("{}\n  {}\n", quoted(&item.value), facts.join(", "))
}

fn changed(answer: &Changed) -> String {
    match answer.done {
        Done::Done => format!("stored, token {}\n{}", answer.token, old(answer)),
        Done::Missing => "(missing)\n".into(),
        Done::NotStored => format!("(not stored)\n{}", old(answer)),
        Done::TokenMismatch => "(another token)\n".into(),
        Done::Unchanged => "(unchanged: the condition does not hold)\n".into(),
    }
}

fn old(answer: &Changed) -> String {
    answer.old.as_ref().map(|old| format!("  old: {}\n", quoted(&old.value))).unwrap_or_default()
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
