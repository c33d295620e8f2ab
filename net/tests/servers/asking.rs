//! Asks servers in RESP.

use super::{end, kinds, read_more, start};
use std::io::Write;
use std::net::TcpStream;
use torc_net::server::{Server, ServerConfig};
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};

/// Plays a scenario on every kind of server, with what `set` has changed of its settings.
pub(crate) fn on_each_kind(set: impl Fn(ServerConfig) -> ServerConfig, scenario: impl Fn(&Server)) {
    for config in kinds() {
        eprintln!("{}, {} shards", config.transport, config.shards);
        let server = start(set(config));
        scenario(&server);
        end(server);
    }
}

/// Sends requests together, and reads their answers as they are on the wire.
pub(crate) fn ask_raw<W: AsRef<[u8]>>(stream: &mut TcpStream, requests: &[Vec<W>]) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    requests.iter().for_each(|words| compose::request(&mut bytes, words));
    stream.write_all(&bytes).unwrap();
    let (mut answers, mut input) = (Vec::new(), Vec::new());
    while answers.len() < requests.len() {
        match parse(&input) {
            Parsed::Complete { consumed, .. } => answers.push(input.drain(..consumed).collect()),
            _ => read_more(stream, &mut input),
        }
    }
    assert!(input.is_empty(), "more than was asked for: {}", input.escape_ascii());
    answers
}

/// The same as text.
pub(crate) fn ask_words<W: AsRef<[u8]>>(stream: &mut TcpStream, requests: &[Vec<W>]) -> Vec<String> {
    let answers = ask_raw(stream, requests);
    answers.iter().map(|answer| String::from_utf8_lossy(answer).into_owned()).collect()
}

/// The same of lines whose words stand between spaces.
pub(crate) fn ask_lines<L: AsRef<str>>(stream: &mut TcpStream, lines: &[L]) -> Vec<String> {
    let requests: Vec<Vec<&str>> = lines.iter().map(|line| line.as_ref().split(' ').collect()).collect();
    ask_words(stream, &requests)
}

/// The same of one line.
pub(crate) fn ask_line(stream: &mut TcpStream, line: &str) -> String {
    ask_lines(stream, &[line]).remove(0)
}
