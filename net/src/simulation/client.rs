//! A simulated client: sends commands, several at a time, and checks every answer against the model.

use super::model::{Action, Call, Model, Reply};
use crate::transport::sim::{LinkId, Network, Random};
use std::collections::VecDeque;
use torc_engine::command::Millis;

/// Which protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Resp,
    Memcache,
}

#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    speech: Speech,
    link: Option<LinkId>,
    calls: VecDeque<Call>,
    input: Vec<u8>,
    /// Commands still to be sent.
    pub(super) left: usize,
    /// Most commands under way.
    depth: usize,
    /// It reads at most so many bytes a step; 0 in some steps makes it slow.
    read_max: usize,
    values: u64,
}

const KEYS: usize = 6;
const SHARED_KEYS: usize = 3;

impl Client {
    pub(super) fn new(number: usize, commands: usize, random: &mut Random) -> Client {
        Client {
            number,
            speech: if random.chance(50) { Speech::Resp } else { Speech::Memcache },
            link: None,
            calls: VecDeque::new(),
            input: Vec::new(),
            left: commands,
            depth: 1 + random.below(40),
            read_max: 1 + random.below(5000),
            values: 0,
        }
    }

    /// From now on it reads all that has come.
    pub(super) fn read_fast(&mut self) {
        self.read_max = usize::MAX;
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.calls.is_empty()
    }

    /// Connects, sends, reads: whatever is to be done.
    ///
    /// # Errors
    /// A wrong answer.
    pub(super) fn step(
        &mut self,
        network: &mut Network,
        model: &mut Model,
        random: &mut Random,
        shards: u16,
        now: Millis,
    ) -> Result<(), String> {
        if self.is_done() {
            return Ok(());
        }
        let link = *self.link.get_or_insert_with(|| network.connect(random.below(shards as usize) as u16, 0));
        if self.left > 0 && self.calls.len() < self.depth && random.chance(70) {
            self.left -= 1;
            let action = self.draw(random);
            network.write(link, &self.request(&action));
            self.calls.push_back(model.begin(action, now));
        }
        if random.chance(60) {
            self.input.extend(network.read(link, self.read_max));
        }
        while let Some((reply, count)) = self.parse() {
            self.input.drain(..count);
            let call = self.calls.pop_front().ok_or_else(|| format!("nobody asked for {reply:?}"))?;
            model.end(&call, &reply, now).map_err(|wrong| format!("client {}: {wrong}", self.number))?;
        }
        if network.is_dead(link) {
            self.calls.drain(..).for_each(|call| model.broken(&call));
            self.input.clear();
            self.link = None;
        }
        Ok(())
    }

    fn draw(&mut self, random: &mut Random) -> Action {
        let key = format!("own:{}:{}", self.number, random.below(KEYS));
        let shared = format!("shared:{}", random.below(SHARED_KEYS));
        match random.below(100) {
            0..35 => Action::Get { key },
            35..60 => Action::Set { key, value: self.value(random), ttl_ms: None },
            60..68 if self.speech == Speech::Resp => {
                Action::Set { key, value: self.value(random), ttl_ms: Some(1 + random.number() % 200) }
            }
            68..78 => Action::Delete { key },
            78..84 if self.speech == Speech::Resp => {
                Action::Increment { key: format!("count:{}", self.number) }
            }
            84..92 => Action::SetShared { key: shared, value: self.value(random) },
            _ => Action::GetShared { key: shared },
        }
    }

    /// A value that no other write has; some are long enough to be received in slices.
    fn value(&mut self, random: &mut Random) -> Vec<u8> {
        self.values += 1;
        let mut value = format!("{}-{}-", self.number, self.values).into_bytes();
        let bytes = if random.chance(10) { random.below(60_000) } else { random.below(200) };
        value.resize(value.len() + bytes, b'x');
        value
    }

    fn request(&self, action: &Action) -> Vec<u8> {
        match self.speech {
            Speech::Resp => resp_request(action),
            Speech::Memcache => memcache_request(action),
        }
    }

    fn parse(&self) -> Option<(Reply, usize)> {
        match self.speech {
            Speech::Resp => resp_reply(&self.input),
            Speech::Memcache => memcache_reply(&self.input),
        }
    }
}

fn resp_request(action: &Action) -> Vec<u8> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut add = |word: &[u8]| words.push(word.to_vec());
    match action {
        Action::Set { key, value, ttl_ms } => {
            [b"SET", key.as_bytes(), value].into_iter().for_each(&mut add);
            if let Some(ttl) = ttl_ms {
                add(b"PX");
                add(ttl.to_string().as_bytes());
            }
        }
        Action::SetShared { key, value } => [b"SET", key.as_bytes(), value].into_iter().for_each(add),
        Action::Get { key } | Action::GetShared { key } => [b"GET", key.as_bytes()].into_iter().for_each(add),
        Action::Delete { key } => [b"DEL", key.as_bytes()].into_iter().for_each(add),
        Action::Increment { key } => [b"INCR", key.as_bytes()].into_iter().for_each(add),
    }
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).bytes());
        request.extend(word);
        request.extend(b"\r\n");
    }
    request
}

fn memcache_request(action: &Action) -> Vec<u8> {
    match action {
        Action::Set { key, value, .. } | Action::SetShared { key, value } => {
            let mut request = format!("set {key} 0 0 {}\r\n", value.len()).into_bytes();
            request.extend(value);
            request.extend(b"\r\n");
            request
        }
        Action::Get { key } | Action::GetShared { key } => format!("get {key}\r\n").into_bytes(),
        Action::Delete { key } => format!("delete {key}\r\n").into_bytes(),
        Action::Increment { key } => format!("incr {key} 1\r\n").into_bytes(),
    }
}

fn line(input: &[u8]) -> Option<(&str, usize)> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    Some((std::str::from_utf8(&input[..end]).unwrap_or("no text"), end + 2))
}

fn resp_reply(input: &[u8]) -> Option<(Reply, usize)> {
    let (line, end) = line(input)?;
    let (kind, rest) = line.split_at_checked(1).unwrap_or(("", line));
    Some(match (kind, rest.parse::<i64>()) {
        ("+", _) => (Reply::Ok, end),
        (":", Ok(number)) => (Reply::Number(number), end),
        ("$", Ok(-1)) => (Reply::Nothing, end),
        ("$", Ok(bytes)) => {
            let value_end = end + bytes as usize;
            (Reply::Value(input.get(end..value_end)?.to_vec()), input.get(..value_end + 2)?.len())
        }
        _ => (Reply::Error(line.into()), end),
    })
}

fn memcache_reply(input: &[u8]) -> Option<(Reply, usize)> {
    let (line, end) = line(input)?;
    Some(match line {
        "STORED" => (Reply::Ok, end),
        "DELETED" => (Reply::Number(1), end),
        "NOT_FOUND" => (Reply::Number(0), end),
        "END" => (Reply::Nothing, end),
        _ => {
            match line.strip_prefix("VALUE ").and_then(|rest| rest.rsplit(' ').next()?.parse::<usize>().ok())
            {
                Some(bytes) => {
                    let value = input.get(end..end + bytes)?.to_vec();
                    (Reply::Value(value), input.get(..end + bytes + b"\r\nEND\r\n".len())?.len())
                }
                None => (Reply::Error(line.into()), end),
            }
        }
    })
}
