//! Clients that give a wrong password or none, where a server asks for one, beside those that are let in.
//!
//! What is checked: whoever is not let in is refused all that it asks for, in the same words whatever that is about, and is cut off
//! when it asks too often; a wrong password is answered late; whoever is let in is served, also behind a wrong password, until it
//! resets its connection. What strangers ask for is about the others' keys and channels, so that those see what was done all the same.

use super::entry::{self, Entries};
use super::speech::{Speech, array};
use super::world::World;
use crate::transport::sim::{LinkId, Network, Random};
use std::collections::VecDeque;
use torc_engine::command::Millis;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, FrameLimits, Op, Options, Status};
use torc_proto::resp::reply::{Parsed, parse};

/// Strangers, at most.
const STRANGERS_MAX: usize = 4;
/// Requests of one, at most, and those that are sent together.
const REQUESTS_MAX: usize = 250;
const BURST: usize = 5;
/// Requests that are refused on a connection; with the next one it is closed.
const REFUSALS_MAX: u32 = 32;
/// A wrong password is answered so much later at the earliest.
const DELAY_MS: Millis = 250;

/// What they ask for, of keys and channels that others have.
const RESP: [&str; 22] = [
    "GET own:0:1",
    "GET shared:0",
    "SET shared:1 stolen",
    "SET own:1:2 stolen PX 100",
    "DEL own:0:0 own:0:1 own:1:0 own:1:1",
    "MGET own:0:1 shared:0 shared:1",
    "INCR count:0",
    "EXISTS own:0:0",
    "PING",
    "FLUSHALL",
    "FLUSHDB",
    "SCAN 0",
    "PUBLISH c0 m0",
    "SUBSCRIBE c0",
    "PSUBSCRIBE c?",
    "MULTI",
    "EXEC",
    "SELECT 6",
    "CLIENT TRACKING ON BCAST",
    "EVAL return{redis.call('set','shared:2','stolen')} 0",
    "RENAME own:0:1 own:0:2",
    "MONITOR",
];
const MEMCACHE: [&str; 8] = [
    "get own:0:1",
    "get own:0:1 shared:0 shared:1",
    "delete own:0:1",
    "mg shared:0 v",
    "touch own:0:1 1",
    "incr count:0 1",
    "flush_all",
    "mn",
];
const NATIVE: [(Op, &str, &str); 6] = [
    (Op::Get, "own:0:1", ""),
    (Op::Set, "shared:0", "stolen"),
    (Op::Delete, "own:1:1", ""),
    (Op::Ping, "", ""),
    (Op::Statistics, "", ""),
    (Op::Flush, "", ""),
];
/// A key that nobody has.
const NOWHERE: &str = "nowhere";

#[derive(Debug)]
pub(super) struct Strangers {
    random: Random,
    all: Vec<Stranger>,
    pub(super) entries: Entries,
    may_close: bool,
}

#[derive(Debug)]
struct Stranger {
    speech: Speech,
    shard_port: bool,
    link: Option<LinkId>,
    asked: VecDeque<Asked>,
    input: Vec<u8>,
    /// It is let in when all is answered that it has asked.
    is_in: bool,
    refused: u32,
    /// It is closed when all is answered.
    is_cut_off: bool,
    /// Requests still to be sent.
    left: usize,
    read_max: usize,
}

#[derive(Debug)]
struct Asked {
    /// How it is answered.
    answer: &'static str,
    /// When a password was given, and whether it is the right one.
    gives: Option<(Millis, bool)>,
}

impl Strangers {
    pub(super) fn new(world: &World, seed: u64) -> Strangers {
        // Of its own, so that what else a seed draws stays what it is.
        let mut random = Random::new(seed ^ 0x57A6);
        let count = if world.password && world.tier.is_none() { 1 + random.below(STRANGERS_MAX) } else { 0 };
        let stranger = |_| {
            let speech = [Speech::Resp, Speech::Resp, Speech::Memcache, Speech::Native][random.below(4)];
            Stranger {
                speech,
                shard_port: speech == Speech::Resp && random.chance(30),
                link: None,
                asked: VecDeque::new(),
                input: Vec::new(),
                is_in: false,
                refused: 0,
                is_cut_off: false,
                left: random.below(REQUESTS_MAX),
                read_max: 1 + random.below(3000),
            }
        };
        let all = (0..count).map(stranger).collect();
        Strangers { random, all, entries: Entries::default(), may_close: world.closes() }
    }

    pub(super) fn read_fast(&mut self) {
        self.all.iter_mut().for_each(|stranger| stranger.read_max = usize::MAX);
    }

    pub(super) fn is_done(&self) -> bool {
        let is_quiet = |one: &Stranger| one.left == 0 && one.asked.is_empty() && !one.is_cut_off;
        self.all.iter().all(is_quiet)
    }

    /// Lets each of them read and send.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) fn step(&mut self, network: &mut Network, world: &World, now: Millis) -> Result<(), String> {
        for number in 0..self.all.len() {
            self.step_of(number, network, world, now)
                .map_err(|wrong| format!("stranger {number}: {wrong}: {:?}", self.all[number]))?;
        }
        Ok(())
    }

    fn step_of(
        &mut self,
        number: usize,
        network: &mut Network,
        world: &World,
        now: Millis,
    ) -> Result<(), String> {
        let Strangers { random, all, entries, may_close } = self;
        let stranger = &mut all[number];
        if stranger.left == 0 && stranger.link.is_none() {
            return Ok(());
        }
        let link = *stranger.link.get_or_insert_with(|| {
            let shard = random.below(world.shards as usize) as u16;
            network.connect(shard, u16::from(stranger.shard_port))
        });
        if random.chance(60) {
            stranger.input.extend(network.read(link, stranger.read_max));
            stranger.hear(entries, now)?;
        }
        if network.is_dead(link) {
            let is_over = stranger.asked.is_empty() && stranger.input.is_empty();
            if !(network.was_reset(link) || *may_close || is_over) {
                return Err("was closed".into());
            }
            stranger.begin_anew();
        } else if !stranger.is_cut_off && stranger.asked.len() < 2 * BURST && random.chance(30) {
            let count = (1 + random.below(BURST)).min(stranger.left);
            let bytes: Vec<u8> = (0..count).flat_map(|_| stranger.ask(random, entries, now)).collect();
            network.write(link, &bytes);
        }
        Ok(())
    }
}

impl Stranger {
    fn begin_anew(&mut self) {
        self.link = None;
        self.asked.clear();
        self.input.clear();
        (self.is_in, self.is_cut_off, self.refused) = (false, false, 0);
    }

    /// The next request, and how it must be answered.
    fn ask(&mut self, random: &mut Random, entries: &mut Entries, now: Millis) -> Vec<u8> {
        if self.is_cut_off || self.left == 0 {
            return Vec::new();
        }
        self.left -= 1;
        let enters = random.below(100);
        // memcached and the native protocol have one password a connection.
        if enters < 16 && (self.speech == Speech::Resp || !self.is_in) {
            let is_right = enters < 3;
            let by_hello = random.chance(30);
            entries.of(is_right).given += 1;
            let answer = self.answer_to_password(is_right, by_hello);
            self.asked.push_back(Asked { answer, gives: Some((now, is_right)) });
            self.is_in |= is_right;
            return entry::request(self.speech, is_right, by_hello, self.left as u32);
        }
        let (request, answer) = match self.is_in {
            true => self.harmless(random),
            false => {
                let request = self.draw(random);
                let answer = self.refusal(&request);
                (request, answer)
            }
        };
        self.asked.push_back(Asked { answer, gives: None });
        request
    }

    fn answer_to_password(&mut self, is_right: bool, by_hello: bool) -> &'static str {
        match (self.speech, is_right) {
            (Speech::Resp, true) => {
                if by_hello {
                    "*14\r\n"
                } else {
                    "+OK\r\n"
                }
            }
            (Speech::Resp, false) => "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            (Speech::Memcache, true) => "STORED\r\n",
            (Speech::Memcache, false) => "CLIENT_ERROR authentication failure\r\n",
            (Speech::Native, true) => "Ok",
            (Speech::Native, false) => self.refuse("Unauthenticated"),
        }
    }

    fn refuse(&mut self, answer: &'static str) -> &'static str {
        self.refused += 1;
        self.is_cut_off = self.refused > REFUSALS_MAX;
        answer
    }

    /// What it asks while it is not let in.
    fn draw(&mut self, random: &mut Random) -> Vec<u8> {
        match self.speech {
            Speech::Resp if random.chance(5) => words("RESET"),
            Speech::Resp => words(RESP[random.below(RESP.len())]),
            Speech::Memcache => format!("{}\r\n", MEMCACHE[random.below(MEMCACHE.len())]).into_bytes(),
            Speech::Native => native(NATIVE[random.below(NATIVE.len())], self.left as u32),
        }
    }

    fn refusal(&mut self, request: &[u8]) -> &'static str {
        match self.speech {
            Speech::Resp => {
                let answer = self.refuse("-NOAUTH Authentication required.\r\n");
                let resets = request == words("RESET") && !self.is_cut_off;
                if resets { "+RESET\r\n" } else { answer }
            }
            Speech::Memcache => self.refuse("CLIENT_ERROR unauthenticated\r\n"),
            Speech::Native => {
                self.is_cut_off = true;
                "Unauthenticated"
            }
        }
    }

    /// What it asks when it is let in, and the answer: of nobody's keys.
    fn harmless(&mut self, random: &mut Random) -> (Vec<u8>, &'static str) {
        match self.speech {
            Speech::Resp if random.chance(40) => {
                (self.is_in, self.refused) = (false, 0);
                (words("RESET"), "+RESET\r\n")
            }
            // It may be another shard's.
            Speech::Resp if self.shard_port => (words("PING"), "+PONG\r\n"),
            Speech::Resp => (words(&format!("GET {NOWHERE}")), "$-1\r\n"),
            Speech::Memcache => (format!("get {NOWHERE}\r\n").into_bytes(), "END\r\n"),
            Speech::Native => (native((Op::Get, NOWHERE, ""), self.left as u32), "Miss"),
        }
    }

    fn hear(&mut self, entries: &mut Entries, now: Millis) -> Result<(), String> {
        while let Some((answer, bytes)) = whole_answer(self.speech, &self.input) {
            let text = answer.to_owned();
            self.input.drain(..bytes);
            let asked = self.asked.pop_front().ok_or_else(|| format!("nobody asked for {text}"))?;
            if !text.starts_with(asked.answer) {
                return Err(format!("{asked:?} was answered {text}"));
            }
            let Some((given, is_right)) = asked.gives else { continue };
            entries.of(is_right).answered += 1;
            if !is_right && now < given + DELAY_MS {
                return Err(format!("a wrong password was answered after {} ms", now - given));
            }
        }
        Ok(())
    }
}

/// The first whole answer as text, and its bytes. Of a native one its status.
fn whole_answer(speech: Speech, input: &[u8]) -> Option<(String, usize)> {
    match speech {
        Speech::Resp => match parse(input) {
            Parsed::Complete { consumed, .. } => {
                Some((String::from_utf8_lossy(&input[..consumed]).into_owned(), consumed))
            }
            _ => None,
        },
        Speech::Memcache => {
            let end = 1 + input.iter().position(|byte| *byte == b'\n')?;
            Some((String::from_utf8_lossy(&input[..end]).into_owned(), end))
        }
        Speech::Native => {
            let limits = FrameLimits { value_bytes_max: u32::MAX };
            let (answer, bytes) = Answer::parse(input, &limits).ok()?;
            let status: Status = answer.header.status();
            Some((format!("{status:?}"), bytes))
        }
    }
}

fn words(request: &str) -> Vec<u8> {
    array(&request.split(' ').collect::<Vec<_>>())
}

fn native((op, key, value): (Op, &str, &str), id: u32) -> Vec<u8> {
    let mut request = Vec::new();
    compose_request(&mut request, op, 0, id, &Options::NONE, key.as_bytes(), value.as_bytes())
        .expect("keys and values are short");
    request
}
