//! The three protocols as a simulated client speaks them.

use super::action::{Action, Call, Reply, parts};
use super::entry;
use torc_proto::native::{Answer, FrameLimits, Op, Options, Status, flags, frame};
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};

/// Which protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Resp,
    Memcache,
    Native,
}

impl Speech {
    /// Whether the protocol has the command.
    pub(super) fn has(self, action: &Action) -> bool {
        match self {
            Speech::Resp => true,
            Speech::Memcache => !matches!(
                action,
                Action::Set { ttl_ms: Some(_), .. }
                    | Action::Increment { .. }
                    | Action::SetMany { .. }
                    | Action::DeleteMany { .. }
                    | Action::SetTogether { .. }
                    | Action::GetTogether { .. }
                    | Action::WatchCount { .. }
                    | Action::CountWatched { .. }
                    | Action::Tally { .. }
                    | Action::Scan { .. }
                    | Action::Select { .. }
                    | Action::FlushDatabase { .. }
            ),
            Speech::Native => matches!(
                action,
                Action::Set { ttl_ms: None, .. }
                    | Action::Get { .. }
                    | Action::Delete { .. }
                    | Action::SetShared { .. }
                    | Action::GetShared { .. }
                    | Action::GetOneOf { .. }
                    | Action::Enter { .. }
                    | Action::Ping
            ),
        }
    }

    /// `is_durable`: it is to be on the tier when it is answered; only the native protocol can say that.
    pub(super) fn request(self, action: &Action, id: u32, is_durable: bool) -> Vec<u8> {
        match (self, action) {
            (speech, Action::Enter { is_right }) => entry::request(speech, *is_right, id % 2 == 1, id),
            (Speech::Resp, _) => resp_request(action),
            (Speech::Memcache, _) => memcache_request(action),
            (Speech::Native, _) => native_request(action, id, is_durable),
        }
    }

    /// The first whole answer, to `call` unless it names its request itself, and its bytes. An answer of the native
    /// protocol names it.
    pub(super) fn reply(self, input: &[u8], call: &Call) -> Option<(Option<u32>, Reply, usize)> {
        match self {
            Speech::Resp => {
                let mut end = 0;
                for _ in 0..call.answers_before() {
                    end += resp_reply(&input[end..])?.1;
                }
                let (reply, bytes) = resp_reply(&input[end..])?;
                let is_within = call.script.is_some_and(|script| script.answers_within(&call.action));
                Some((None, if is_within { reply.only() } else { reply }, end + bytes))
            }
            Speech::Memcache => memcache_reply(input, &call.action).map(|(reply, end)| (None, reply, end)),
            Speech::Native => native_reply(input),
        }
    }
}

fn resp_request(action: &Action) -> Vec<u8> {
    let key_of = |key: &String| parts(key).1.as_bytes().to_vec();
    let commands = match action {
        Action::SetTogether { keys, value } => {
            let set = |key| vec![b"SET".to_vec(), key_of(key), value.clone()];
            in_transaction(keys.iter().map(set))
        }
        Action::GetTogether { keys } => {
            in_transaction(keys.iter().map(|key| vec![b"GET".to_vec(), key_of(key)]))
        }
        Action::Tally { keys } if keys.len() > 1 => {
            in_transaction(keys.iter().map(|key| vec![b"INCR".to_vec(), key_of(key)]))
        }
        Action::WatchCount { key } => {
            ["WATCH", "GET"].map(|name| vec![name.into(), key_of(key)]).into_iter().collect()
        }
        Action::CountWatched { .. } => in_transaction([resp_words(action)].into_iter()),
        _ => vec![resp_words(action)],
    };
    commands.iter().flat_map(|words| array(words)).collect()
}

pub(super) fn in_transaction(commands: impl Iterator<Item = Vec<Vec<u8>>>) -> Vec<Vec<Vec<u8>>> {
    let one = |name: &str| vec![name.as_bytes().to_vec()];
    [one("MULTI")].into_iter().chain(commands).chain([one("EXEC")]).collect()
}

/// A request of RESP.
pub(super) fn array(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut request = Vec::new();
    compose::request(&mut request, words);
    request
}

/// The whole frames of RESP that have come, which leave the input.
pub(super) fn frames(input: &mut Vec<u8>) -> Vec<String> {
    let (mut frames, mut end) = (Vec::new(), 0);
    while let Parsed::Complete { consumed, .. } = parse(&input[end..]) {
        frames.push(String::from_utf8_lossy(&input[end..end + consumed]).into_owned());
        end += consumed;
    }
    input.drain(..end);
    frames
}

pub(super) fn resp_words(action: &Action) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut add = |word: &[u8]| words.push(word.to_vec());
    match action {
        Action::Set { key, value, ttl_ms } => {
            [b"SET", parts(key).1.as_bytes(), value].into_iter().for_each(&mut add);
            if let Some(ttl) = ttl_ms {
                add(b"PX");
                add(ttl.to_string().as_bytes());
            }
        }
        Action::SetShared { key, value } => {
            [b"SET", parts(key).1.as_bytes(), value].into_iter().for_each(add)
        }
        Action::CountWatched { key, to } => {
            [b"SET", parts(key).1.as_bytes(), to.to_string().as_bytes()].into_iter().for_each(add)
        }
        Action::Get { key } | Action::GetShared { key } | Action::GetOneOf { key } => {
            [b"GET", parts(key).1.as_bytes()].into_iter().for_each(add)
        }
        Action::Delete { key } => [b"DEL", parts(key).1.as_bytes()].into_iter().for_each(add),
        Action::Increment { key } => [b"INCR", parts(key).1.as_bytes()].into_iter().for_each(add),
        Action::SetMany { pairs } => {
            add(b"MSET");
            pairs
                .iter()
                .for_each(|(key, value)| [parts(key).1.as_bytes(), value].into_iter().for_each(&mut add));
        }
        Action::GetMany { keys } => {
            add(b"MGET");
            keys.iter().for_each(|key| add(parts(key).1.as_bytes()));
        }
        Action::DeleteMany { keys } => {
            add(b"DEL");
            keys.iter().for_each(|key| add(parts(key).1.as_bytes()));
        }
        Action::Tally { keys } => {
            add(b"INCR");
            keys.iter().for_each(|key| add(parts(key).1.as_bytes()));
        }
        Action::Scan { cursor, count } => {
            [b"SCAN", cursor.as_bytes(), b"COUNT", count.to_string().as_bytes()].into_iter().for_each(add);
        }
        Action::Flush { .. } => add(b"FLUSHALL"),
        Action::FlushDatabase { .. } => add(b"FLUSHDB"),
        Action::Select { database } => {
            [&b"SELECT"[..], database.to_string().as_bytes()].into_iter().for_each(add)
        }
        // The others are several commands.
        _ => add(b"PING"),
    }
    words
}

fn memcache_request(action: &Action) -> Vec<u8> {
    match action {
        Action::Set { key, value, .. } | Action::SetShared { key, value } => {
            let mut request = format!("set {key} 0 0 {}\r\n", value.len()).into_bytes();
            request.extend(value);
            request.extend(b"\r\n");
            request
        }
        Action::Get { key } | Action::GetShared { key } | Action::GetOneOf { key } => {
            format!("get {key}\r\n").into_bytes()
        }
        Action::GetMany { keys } => format!("get {}\r\n", keys.join(" ")).into_bytes(),
        Action::Delete { key } => format!("delete {key}\r\n").into_bytes(),
        Action::Flush { .. } => b"flush_all\r\n".to_vec(),
        _ => b"mn\n".to_vec(),
    }
}

fn native_request(action: &Action, id: u32, is_durable: bool) -> Vec<u8> {
    let (op, key, value) = match action {
        Action::Set { key, value, .. } | Action::SetShared { key, value } => {
            (Op::Set, key.as_str(), &value[..])
        }
        Action::Get { key } | Action::GetShared { key } | Action::GetOneOf { key } => {
            (Op::Get, key.as_str(), &[][..])
        }
        Action::Delete { key } => (Op::Delete, key.as_str(), &[][..]),
        _ => (Op::Ping, "", &[][..]),
    };
    let mut request = Vec::new();
    let wishes = if is_durable { flags::DURABLE } else { 0 };
    let composed =
        frame::compose_request(&mut request, op, wishes, id, &Options::NONE, key.as_bytes(), value);
    composed.expect("keys and values are short");
    request
}

fn line(input: &[u8]) -> Option<(&str, usize)> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let text = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    Some((std::str::from_utf8(text).unwrap_or("no text"), end + 1))
}

fn resp_reply(input: &[u8]) -> Option<(Reply, usize)> {
    let (line, end) = line(input)?;
    let (kind, rest) = line.split_at_checked(1).unwrap_or(("", line));
    Some(match (kind, rest.parse::<i64>()) {
        ("+", _) => (Reply::Ok, end),
        (":", Ok(number)) => (Reply::Number(number), end),
        ("$" | "*", Ok(-1)) => (Reply::Nothing, end),
        ("$", Ok(bytes)) => {
            let value_end = end + bytes as usize;
            (Reply::Value(input.get(end..value_end)?.to_vec()), input.get(..value_end + 2)?.len())
        }
        ("*", Ok(count)) => {
            let (mut entries, mut end) = (Vec::new(), end);
            for _ in 0..count {
                let (entry, bytes) = resp_reply(&input[end..])?;
                entries.push(entry);
                end += bytes;
            }
            (Reply::Array(entries), end)
        }
        _ => (Reply::Error(rest.into()), end),
    })
}

fn memcache_reply(input: &[u8], action: &Action) -> Option<(Reply, usize)> {
    const NOOP: &[u8] = b"MN\r\n";
    if input.starts_with(NOOP) {
        return Some((Reply::Ok, NOOP.len()));
    }
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut end = 0;
    loop {
        let (line, bytes) = line(&input[end..])?;
        end += bytes;
        let words: Vec<&str> = line.split(' ').collect();
        match (&words[..], action) {
            (["VALUE", key, _, bytes], _) => {
                let value_end = end + bytes.parse::<usize>().ok()?;
                found.push(((*key).into(), input.get(end..value_end)?.to_vec()));
                end = input.get(..value_end + 2)?.len();
            }
            (["END"], Action::GetMany { keys }) => {
                let value =
                    |key: &String| found.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
                let values = keys.iter().map(|key| value(key).map_or(Reply::Nothing, Reply::Value));
                return Some((Reply::Array(values.collect()), end));
            }
            (["END"], _) => {
                let value = found.pop().map_or(Reply::Nothing, |(_, value)| Reply::Value(value));
                return Some((value, end));
            }
            (["STORED" | "OK"], _) => return Some((Reply::Ok, end)),
            (["DELETED"], _) => return Some((Reply::Number(1), end)),
            (["NOT_FOUND"], _) => return Some((Reply::Number(0), end)),
            _ => return Some((Reply::Error(line.into()), end)),
        }
    }
}

fn native_reply(input: &[u8]) -> Option<(Option<u32>, Reply, usize)> {
    let limits = FrameLimits { value_bytes_max: u32::MAX };
    let (answer, bytes) = Answer::parse(input, &limits).ok()?;
    let reply = match (answer.header.status(), Op::from_wire(answer.header.op)) {
        (Status::Ok, Some(Op::Get)) => Reply::Value(answer.value.to_vec()),
        (Status::Miss, Some(Op::Get)) => Reply::Nothing,
        (Status::Ok, Some(Op::Delete)) => Reply::Number(1),
        (Status::Miss, Some(Op::Delete)) => Reply::Number(0),
        (Status::Ok, _) => Reply::Ok,
        (status, _) => Reply::Error(format!("{status:?}").replace("OutOfMemory", "out of memory")),
    };
    Some((Some(answer.header.id), reply, bytes))
}
