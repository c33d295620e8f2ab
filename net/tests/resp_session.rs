//! The RESP session before a store: the wire vectors, each also cut at every place, and what they cannot say.

mod support;
#[path = "support/resp_vectors.rs"]
mod vectors;

use support::{Connection, Store, model::Model};
use torc_net::session::Protocol;
use vectors::{Case, cases};

/// Milliseconds since the epoch when a case starts.
const START: u64 = 1_000_000_000;

fn connection() -> Connection {
    Connection::new(Some(Protocol::Resp))
}

/// Plays a case, with each step's bytes sent in the pieces that `cut` makes of them.
fn play(case: &Case, store: &mut impl Store, cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Result<(), String> {
    let mut connection = connection();
    let mut now = START;
    for step in &case.steps {
        now += step.wait_ms;
        let mut received = Vec::new();
        for piece in cut(&step.send) {
            received.extend_from_slice(&connection.send(&piece, store, now));
        }
        if received != step.expect {
            return Err(format!(
                "{}\n     got {}\nexpected {}",
                case.name,
                received.escape_ascii(),
                step.expect.escape_ascii()
            ));
        }
    }
    match connection.closed == case.close {
        true => Ok(()),
        false => Err(format!("{}: closed {}", case.name, connection.closed)),
    }
}

fn assert_all(results: impl Iterator<Item = Result<(), String>>) {
    let failures: Vec<String> = results.filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn vectors_hold_with_a_model() {
    assert_all(cases().iter().map(|case| play(case, &mut Model::default(), |bytes| vec![bytes.to_vec()])));
}

#[test]
fn vectors_hold_with_a_shard() {
    assert_all(
        cases().iter().map(|case| play(case, &mut support::shard(START), |bytes| vec![bytes.to_vec()])),
    );
}

#[test]
fn vectors_hold_cut_at_every_place() {
    for case in cases() {
        let longest = case.steps.iter().map(|step| step.send.len()).max().unwrap_or(0);
        // Every place of what is short, a few hundred of what is long.
        for at in (0..longest).step_by(1 + longest / 400) {
            let cut = |bytes: &[u8]| {
                let at = at.min(bytes.len());
                vec![bytes[..at].to_vec(), bytes[at..].to_vec()]
            };
            if let Err(failure) = play(&case, &mut Model::default(), cut) {
                panic!("cut at {at}: {failure}");
            }
        }
    }
}

#[test]
fn vectors_hold_byte_by_byte() {
    let short = |case: &&Case| case.steps.iter().all(|step| step.send.len() < 10_000);
    assert_all(cases().iter().filter(short).map(|case| {
        play(case, &mut Model::default(), |bytes| bytes.iter().map(|&byte| vec![byte]).collect())
    }));
}
