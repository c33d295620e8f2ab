//! The words of a line: operands, then options.

use super::{Command, Trouble};
use crate::config::value::duration;
use std::time::Duration;

/// The words behind a verb, sorted.
pub(super) struct Line<'w> {
    pub(super) operands: Vec<&'w [u8]>,
    pub(super) options: Vec<(&'static str, &'w str)>,
}

impl<'w> Line<'w> {
    /// `None` if the words do not fit the command. Options are looked for only behind the least operands, so
    /// that a value may look like one.
    pub(super) fn read(words: &'w [Vec<u8>], command: &Command) -> Option<Line<'w>> {
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
    pub(super) fn bytes(&self, index: usize) -> &'w [u8] {
        self.operands.get(index).copied().unwrap_or_default()
    }

    /// How many lines are to be shown.
    pub(super) fn shown(&self, usually: usize) -> Result<usize, Trouble> {
        match self.bytes(0) {
            b"" => Ok(usually),
            word => {
                let count = String::from_utf8_lossy(word).parse();
                count.map_err(|_| Trouble::Usage("COUNT is a number".into()))
            }
        }
    }

    pub(super) fn option(&self, name: &str) -> Option<&'w str> {
        self.options.iter().find(|(option, _)| *option == name).map(|(_, value)| *value)
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Trouble> {
        let number =
            |text: &str| text.parse().map_err(|_| Trouble::Usage(format!("{name}={text} is no number")));
        self.option(name).map(number).transpose()
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Duration>, Trouble> {
        self.option(name).map(time).transpose()
    }

    /// The request, with what the line says of durability.
    pub(super) fn wish<A: torc_client::request::Change>(
        &self,
        request: torc_client::Request<A>,
    ) -> torc_client::Request<A> {
        match (self.option("durable"), self.option("at-once")) {
            (Some(_), _) => request.durable(),
            (None, Some(_)) => request.at_once(),
            (None, None) => request,
        }
    }

    pub(super) fn step(&self) -> Result<u64, Trouble> {
        let Some(step) = self.operands.get(1) else { return Ok(1) };
        let text = String::from_utf8_lossy(step);
        text.parse().map_err(|_| Trouble::Usage(format!("the step '{text}' is no number")))
    }
}

pub(super) fn time(text: &str) -> Result<Duration, Trouble> {
    match duration(text) {
        Ok(Some(time)) => Ok(time),
        Ok(None) => Err(Trouble::Usage(format!("'{text}' is no time to live; write 500ms, 10s, 2m"))),
        Err(reason) => Err(Trouble::Usage(format!("'{text}' {reason}"))),
    }
}
