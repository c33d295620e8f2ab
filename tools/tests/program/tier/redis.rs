//! A client that speaks as much of Redis' protocol as these tests need.

use crate::harness::{PATIENCE, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Ok,
    Nil,
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Answer>),
    Error(String),
}

pub(super) struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    pub(super) fn connect(server: &Server) -> Redis {
        Redis::at(server.address())
    }

    pub(super) fn at(address: SocketAddr) -> Redis {
        Redis::over(TcpStream::connect(address).expect("the server accepts"))
    }

    pub(super) fn over(stream: TcpStream) -> Redis {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Redis { stream: BufReader::new(stream) }
    }

    /// One command, which must be answered.
    pub(super) fn run(&mut self, words: &[&str]) -> Answer {
        let command = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.ask_all(&[command]).remove(0)
    }

    /// Pipelined commands.
    pub(super) fn ask_all(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Answer> {
        self.try_all(commands).expect("the server answers")
    }

    /// As [`Redis::ask_all`]; the server may be gone.
    pub(super) fn try_all(&mut self, commands: &[Vec<Vec<u8>>]) -> std::io::Result<Vec<Answer>> {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend(format!("*{}\r\n", command.len()).as_bytes());
            for word in command {
                bytes.extend(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend(word);
                bytes.extend(b"\r\n");
            }
        }
        self.stream.get_mut().write_all(&bytes)?;
        commands.iter().map(|_| self.answer()).collect()
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        Ok(match (kind, rest) {
            ("+", "OK") => Answer::Ok,
            (":", number) => Answer::Integer(number.parse().expect("a number")),
            ("$", "-1") | ("_", _) => Answer::Nil,
            ("$", length) => {
                let mut value = vec![0; length.parse::<usize>().expect("a length") + 2];
                self.stream.read_exact(&mut value)?;
                value.truncate(value.len() - 2);
                Answer::Bulk(value)
            }
            ("*", length) => {
                let length: usize = length.parse().expect("a length");
                Answer::Array((0..length).map(|_| self.answer()).collect::<Result<_, _>>()?)
            }
            _ => Answer::Error(line.trim_end().to_owned()),
        })
    }
}
