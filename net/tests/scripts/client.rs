//! The servers that scripts are tried on, a client of them, and the keys that they are about.

use crate::servers::{connect, on_each_kind, read_more};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use torc_net::server::{Server, ServerConfig};
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};

pub(crate) const KEYS: [&str; 8] = ["key0", "key1", "key2", "key3", "key4", "key5", "key6", "key7"];
/// Of one shard, and of the other one where there are two.
pub(crate) const TAGGED: [[&str; 8]; 2] = [
    ["{a}0", "{a}1", "{a}2", "{a}3", "{a}4", "{a}5", "{a}6", "{a}7"],
    ["{b}0", "{b}1", "{b}2", "{b}3", "{b}4", "{b}5", "{b}6", "{b}7"],
];
/// Sets all its keys to its argument.
pub(crate) const SET_ALL: &str = "for _, key in ipairs(KEYS) do redis.call('set', key, ARGV[1]) end return 1";

pub(crate) fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| ServerConfig { databases: 16, ..config }, scenario);
}

pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Client {
        Client { stream: connect(address), input: Vec::new() }
    }

    pub(crate) fn send(&mut self, words: &[&str]) {
        let mut bytes = Vec::new();
        compose::request(&mut bytes, words);
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn receive(&mut self) -> String {
        loop {
            if let Parsed::Complete { consumed, .. } = parse(&self.input) {
                let answer = String::from_utf8_lossy(&self.input[..consumed]).into_owned();
                self.input.drain(..consumed);
                return answer;
            }
            read_more(&mut self.stream, &mut self.input);
        }
    }

    pub(crate) fn ask(&mut self, words: &[&str]) -> String {
        self.send(words);
        self.receive()
    }

    pub(crate) fn eval(&mut self, script: &str, keys: &[&str], arguments: &[&str]) -> String {
        let count = keys.len().to_string();
        let words: Vec<&str> = ["EVAL", script, &count]
            .into_iter()
            .chain(keys.iter().copied())
            .chain(arguments.iter().copied())
            .collect();
        self.ask(&words)
    }
}
