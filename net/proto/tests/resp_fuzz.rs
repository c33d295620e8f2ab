//! The fuzz body over the kept corpus and a fixed number of changed inputs. An input that broke something once
//! is added to `corpus/resp`.

mod support;

use support::{Random, corpus};
use torc_proto::resp::fuzz::fuzz_resp_request;

/// Changed inputs made of each kept one.
const CHANGED: usize = 3_000;

#[test]
fn kept_inputs_and_changes_of_them() {
    let inputs = corpus("resp");
    let mut random = Random(0x5EED);
    for input in &inputs {
        fuzz_resp_request(input);
        for _ in 0..CHANGED {
            let other = &inputs[random.below(inputs.len())];
            fuzz_resp_request(&changed(input, other, &mut random));
        }
    }
}

/// A few changes: bytes that mean something put in, bytes taken out, another input joined.
fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    const TELLING: &[u8] = b"*$\r\n-+:0123456789\"'\\ \0x\xff_%";
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.insert(at, TELLING[random.below(TELLING.len())]),
            1 if at < bytes.len() => bytes[at] = TELLING[random.below(TELLING.len())],
            2 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            3 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, other.iter().copied())),
        }
    }
    bytes
}
