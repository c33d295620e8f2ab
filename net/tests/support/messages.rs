//! Subscriptions of one client alone, whose messages are its own.

use std::collections::BTreeSet;
use torc_engine::words;
use torc_net::session::{About, Channels, Inspect, Output, Push, Session, Subscribed};
use torc_proto::resp::glob;

#[derive(Default)]
pub struct Subscriptions([BTreeSet<Vec<u8>>; 3]);

/// What a part about channels comes to.
pub enum Told {
    Local,
    Subscribed(u64),
    Unsubscribed { names: Vec<u8>, left: u64 },
    Published(u64),
    Inspected(Vec<u8>),
}

impl Subscriptions {
    fn of(&self) -> Subscribed {
        let [named, matching, sharded] = [0, 1, 2].map(|of| self.0[of].len());
        Subscribed { named, matching, sharded }
    }

    pub fn execute(
        &mut self,
        (about, name, message): (About, &[u8], &[u8]),
        echo: &[u8],
        session: &mut Session,
        out: &mut Output,
    ) -> Told {
        let told = match about {
            About::Subscribe(of) => {
                self.0[of as usize].insert(echo.to_vec());
                Told::Subscribed(self.of().told(of) as u64)
            }
            About::Unsubscribe(of) => {
                self.0[of as usize].remove(echo);
                Told::Subscribed(self.of().told(of) as u64)
            }
            About::UnsubscribeAll(of) => {
                let names = std::mem::take(&mut self.0[of as usize]);
                let names = listed(names.iter().map(Vec::as_slice));
                Told::Unsubscribed { names, left: self.of().told(of) as u64 }
            }
            About::Forget => {
                self.0 = Default::default();
                Told::Local
            }
            About::Publish { sharded } => Told::Published(self.publish(sharded, name, message, session, out)),
            About::Inspect(inspect) => Told::Inspected(self.inspect(inspect, name)),
        };
        session.has_subscribed(self.of());
        told
    }

    fn publish(
        &self,
        sharded: bool,
        name: &[u8],
        message: &[u8],
        session: &mut Session,
        out: &mut Output,
    ) -> u64 {
        let mut pushes: Vec<Vec<&[u8]>> = Vec::new();
        let (of, word) =
            if sharded { (Channels::Sharded, &b"smessage"[..]) } else { (Channels::Named, &b"message"[..]) };
        if self.0[of as usize].contains(name) {
            pushes.push(vec![word, name, message]);
        }
        for pattern in self.0[Channels::Matching as usize].iter().filter(|_| !sharded) {
            if glob::matches(pattern, name, &mut 10_000) == Some(true) {
                pushes.push(vec![b"pmessage", pattern, name, message]);
            }
        }
        for push in &pushes {
            session.push(Push::new(push, &mut Vec::new()), out);
        }
        pushes.len() as u64
    }

    fn inspect(&self, inspect: Inspect, asked: &[u8]) -> Vec<u8> {
        match inspect {
            Inspect::Names { of, filtered } => {
                let matches =
                    |name: &&[u8]| !filtered || glob::matches(asked, name, &mut 10_000) == Some(true);
                listed(self.0[of as usize].iter().map(Vec::as_slice).filter(matches))
            }
            Inspect::Patterns => listed(self.0[Channels::Matching as usize].iter().map(Vec::as_slice)),
            Inspect::Counts(of) => {
                let count = |name| u64::from(self.0[of as usize].contains(name)).to_le_bytes();
                let counts: Vec<_> = words::each(asked).map(count).collect();
                listed(counts.iter().map(|count| &count[..]))
            }
        }
    }
}

fn listed<'w>(all: impl Iterator<Item = &'w [u8]>) -> Vec<u8> {
    let mut list = Vec::new();
    for word in all {
        words::begin(word.len() as u32, &mut list);
        list.extend_from_slice(word);
    }
    list
}
