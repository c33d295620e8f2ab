//! CLIENT LIST, INFO and KILL: which clients are meant, and what is told of one.

use super::call::Call;
use super::client::Client;
use super::connection::version_number;
use super::error::Error;
use super::errors;
use super::keyspace;
use super::tracking;
use crate::session::part::Part;
use crate::session::tracking::{Tracked, Which};
use crate::session::walk::{OfClients, Over};
use torc_proto::resp::parse_i64;

/// Subcommands about the clients of all shards.
pub(super) fn parts<'a>(call: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<bool, Error> {
    let is = |name: &str| call.argument(1).eq_ignore_ascii_case(name.as_bytes());
    let of = match call.len() {
        _ if is("INFO") => OfClients::Own,
        _ if is("LIST") => OfClients::List,
        3 if is("KILL") => OfClients::KillOne,
        _ if is("KILL") => OfClients::Kill,
        _ => return tracking::parts(call, parts),
    };
    let words: Vec<Vec<u8>> = call.arguments_from(0).map(<[u8]>::to_vec).collect();
    ClientFilter::read(&words)?;
    keyspace::walk(Over::Clients(of), call.frame, parts);
    Ok(true)
}

/// Whether the client's accesses are counted from here on, if the request says so.
pub(super) fn touch(call: &Call<'_, '_>) -> Option<bool> {
    let is = |index, name: &[u8]| call.argument(index).eq_ignore_ascii_case(name);
    let asks = call.row.name == "client" && call.len() == 3 && is(1, b"NO-TOUCH");
    asks.then(|| is(2, b"ON")).filter(|on| *on || is(2, b"OFF"))
}

/// Which clients a request is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientFilter {
    ids: Option<Vec<u64>>,
    peer: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    /// None are there of the wanted type.
    nobody: bool,
    /// Whether they are subscribed to anything.
    subscribes: Option<bool>,
    skips_asker: bool,
}

impl ClientFilter {
    /// Of a request that has been [read](ClientFilter::read) before.
    pub(crate) fn of(request: &[u8]) -> ClientFilter {
        ClientFilter::read(&errors::words(request))
            .unwrap_or(ClientFilter { nobody: true, ..ClientFilter::default() })
    }

    fn read(words: &[Vec<u8>]) -> Result<ClientFilter, Error> {
        let is = |index: usize, name: &str| {
            words.get(index).is_some_and(|word: &Vec<u8>| word.eq_ignore_ascii_case(name.as_bytes()))
        };
        let kills = is(1, "KILL");
        let mut filter = ClientFilter { skips_asker: kills && words.len() > 3, ..ClientFilter::default() };
        if kills && words.len() == 3 {
            filter.peer = Some(words[2].clone());
            return Ok(filter);
        }
        if !kills && is(2, "ID") && words.len() > 3 {
            // Nobody has a number below 1.
            let ids = words[3..].iter().map(|word| parse_i64(word).map(|id| u64::try_from(id).unwrap_or(0)));
            filter.ids = Some(ids.collect::<Option<_>>().ok_or(Error::ClientId)?);
            return Ok(filter);
        }
        let mut index = 2;
        while index < words.len() {
            let Some(value) = words.get(index + 1) else { return Err(Error::Syntax) };
            match () {
                () if is(index, "TYPE") => match is_subscriber(value, index + 1)? {
                    None => filter.nobody = true,
                    subscribes => filter.subscribes = subscribes,
                },
                () if !kills => return Err(Error::Syntax),
                () if is(index, "ID") => {
                    let id = parse_i64(value).ok_or(Error::KilledId)?;
                    filter.ids =
                        Some(vec![u64::try_from(id).ok().filter(|id| *id > 0).ok_or(Error::KilledId)?]);
                }
                () if is(index, "ADDR") => filter.peer = Some(value.clone()),
                () if is(index, "LADDR") => filter.local = Some(value.clone()),
                () if is(index, "USER") && value == b"default" => {}
                () if is(index, "USER") => return Err(Error::User(index as u32 + 1)),
                () if is(index, "SKIPME") => match () {
                    () if value.eq_ignore_ascii_case(b"yes") => filter.skips_asker = true,
                    () if value.eq_ignore_ascii_case(b"no") => filter.skips_asker = false,
                    () => return Err(Error::Syntax),
                },
                () => return Err(Error::Syntax),
            }
            index += 2;
        }
        Ok(filter)
    }

    /// Whether a client is meant, if that with the number `asker` asks.
    pub(crate) fn takes(&self, facts: &ClientFacts<'_>, asker: u64) -> bool {
        let skipped = self.nobody || (self.skips_asker && facts.number == asker);
        !skipped
            && self.subscribes.is_none_or(|subscribes| subscribes == facts.subscribes)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&facts.number))
            && self.peer.as_ref().is_none_or(|peer| peer == facts.peer.as_bytes())
            && self.local.as_ref().is_none_or(|local| local == facts.local.as_bytes())
    }
}

/// Whether clients of one of Redis' types are subscribed to anything; `None`: nobody here has the type.
fn is_subscriber(name: &[u8], index: usize) -> Result<Option<bool>, Error> {
    let is = |name_of_type: &str| name.eq_ignore_ascii_case(name_of_type.as_bytes());
    match () {
        () if is("normal") => Ok(Some(false)),
        () if is("pubsub") => Ok(Some(true)),
        () if ["master", "slave", "replica"].into_iter().any(is) => Ok(None),
        () => Err(Error::ClientType(index as u32)),
    }
}

/// What is told of a client beside what it has settled itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientFacts<'c> {
    pub(crate) number: u64,
    pub(crate) peer: &'c str,
    pub(crate) local: &'c str,
    /// Its place among its shard's clients.
    pub(crate) place: u32,
    pub(crate) age_seconds: u64,
    pub(crate) idle_seconds: u64,
    pub(crate) input_bytes: usize,
    /// Memory for what comes in that has no bytes yet.
    pub(crate) input_free: usize,
    /// Of its arguments; only of the client that asks they are known.
    pub(crate) argument_bytes: usize,
    /// Memory for its answers.
    pub(crate) output_held: usize,
    pub(crate) output_bytes: usize,
    pub(crate) bytes_held: usize,
    /// It is subscribed to something.
    pub(crate) subscribes: bool,
    /// How it is told of keys that it keeps copies of.
    pub(crate) tracked: Option<Tracked>,
    /// Only of the client that asks it is known.
    pub(crate) command: &'static str,
}

impl ClientFacts<'_> {
    /// Those of the client whose request this is, which is in its input yet.
    pub(crate) fn asking(self, request: &[u8], command: &'static str) -> Self {
        let argument_bytes = errors::words(request).iter().map(Vec::len).sum();
        let input_bytes = self.input_bytes + request.len();
        let input_free = self.input_free.saturating_sub(request.len());
        ClientFacts { input_bytes, input_free, argument_bytes, command, ..self }
    }

    /// The line about a client that does not speak RESP.
    pub(crate) fn line_of_another(&self, out: &mut Vec<u8>) {
        self.line(&Client::default(), None, out);
    }

    /// In the letters of Redis.
    fn flags(&self, subscribes: bool, queues: bool) -> String {
        let mode = self.tracked.and_then(|tracked| tracked.mode);
        let by_prefixes = mode.is_some_and(|mode| mode.which == Which::Prefixes);
        let letters = [
            ('P', subscribes),
            ('x', queues),
            ('t', mode.is_some()),
            ('R', self.tracked.is_some_and(|tracked| tracked.is_broken)),
            ('B', by_prefixes),
        ];
        let flags: String = letters.into_iter().filter(|(_, is)| *is).map(|(letter, _)| letter).collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    /// Appends the line. `queued`: commands between MULTI and EXEC, and the memory for them.
    pub(super) fn line(&self, client: &Client, queued: Option<(u32, usize)>, out: &mut Vec<u8>) {
        let (multi, multi_bytes) = queued.map_or((-1, 0), |(commands, bytes)| (i64::from(commands), bytes));
        let subscribed = client.subscribed.as_deref().copied().unwrap_or_default();
        let line = format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={multi} \
             qbuf={} qbuf-free={} argv-mem={} multi-mem={multi_bytes} rbs={} rbp=0 obl={} oll=0 omem=0 tot-mem={} events=r \
             cmd={} user=default redir={} resp={} lib-name={} lib-ver={}\n",
            self.number,
            self.peer,
            self.local,
            self.place,
            String::from_utf8_lossy(&client.name),
            self.age_seconds,
            self.idle_seconds,
            self.flags(subscribed.total() > 0, queued.is_some()),
            client.database,
            subscribed.named,
            subscribed.matching,
            subscribed.sharded,
            self.input_bytes,
            self.input_free,
            self.argument_bytes,
            self.output_held,
            self.output_bytes,
            self.bytes_held + self.argument_bytes,
            self.command,
            self.tracked.as_ref().map_or(-1, tracking::redirect),
            version_number(client.version),
            String::from_utf8_lossy(&client.library_name),
            String::from_utf8_lossy(&client.library_version),
        );
        out.extend_from_slice(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u64) -> ClientFacts<'static> {
        ClientFacts {
            number,
            peer: "1.2.3.4:5",
            local: "6.7.8.9:10",
            place: 0,
            age_seconds: 0,
            idle_seconds: 0,
            input_bytes: 0,
            input_free: 0,
            argument_bytes: 0,
            output_held: 0,
            output_bytes: 0,
            bytes_held: 0,
            subscribes: false,
            tracked: None,
            command: "NULL",
        }
    }

    fn read(text: &str) -> Result<ClientFilter, Error> {
        ClientFilter::read(&text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_request_says_which_clients_are_meant() {
        for (text, number, meant) in [
            ("CLIENT LIST", 7, true),
            ("CLIENT LIST TYPE normal", 7, true),
            ("CLIENT LIST TYPE pubsub", 7, false),
            ("CLIENT LIST ID 1 7", 7, true),
            ("CLIENT LIST ID 1 7", 8, false),
            ("CLIENT KILL 1.2.3.4:5", 9, true),
            ("CLIENT KILL 1.2.3.4:6", 9, false),
            ("CLIENT KILL ID 9", 9, false),
            ("CLIENT KILL ID 9 SKIPME no", 9, true),
            ("CLIENT KILL ADDR 1.2.3.4:5 LADDR 6.7.8.9:10", 8, true),
            ("CLIENT KILL LADDR 6.7.8.9:11", 8, false),
            ("CLIENT KILL USER default TYPE replica", 8, false),
        ] {
            assert_eq!(read(text).unwrap().takes(&facts(number), 9), meant, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, error) in [
            ("CLIENT LIST ID x", Error::ClientId),
            ("CLIENT LIST ID", Error::Syntax),
            ("CLIENT LIST TYPE", Error::Syntax),
            ("CLIENT LIST TYPE x", Error::ClientType(3)),
            ("CLIENT LIST FOO x", Error::Syntax),
            ("CLIENT KILL ID 0", Error::KilledId),
            ("CLIENT KILL ID x", Error::KilledId),
            ("CLIENT KILL USER x", Error::User(3)),
            ("CLIENT KILL SKIPME maybe", Error::Syntax),
            ("CLIENT KILL ID 1 ADDR", Error::Syntax),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }
}
