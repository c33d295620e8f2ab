//! The fuzz body over the kept corpus and a fixed number of changed inputs. An input that broke something once
//! is added to `corpus/resp`.

mod support;

use support::{Random, corpus};
use torc_proto::resp::fuzz::{fuzz_resp_dump, fuzz_resp_request};

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

/// A value, its length in each of its forms, integers, and packed bytes; then changes of them.
#[test]
fn packed_values_and_changes_of_them() {
    let inputs: [&[u8]; 8] = [
        b"\x00\x05hello",
        b"\x00\x40\x05hello",
        b"\x00\x80\x00\x00\x00\x05hello",
        b"\x00\x81\x00\x00\x00\x00\x00\x00\x00\x05hello",
        b"\x00\xc0\n",
        b"\x00\xc1\x00\x01",
        b"\x00\xc2\x00\x01\x02\x03",
        b"\x00\xc3\t@d\x01xx\xe0W\x00\x01xx",
    ];
    let mut random = Random(0xD0_5EED);
    for input in inputs {
        fuzz_resp_dump(input);
        for _ in 0..CHANGED {
            let mut bytes = input.to_vec();
            for _ in 0..1 + random.below(3) {
                let at = random.below(bytes.len() + 1);
                match random.below(4) {
                    0 => bytes.insert(at, random.below(256) as u8),
                    1 => bytes.truncate(at),
                    _ if at < bytes.len() => bytes[at] = random.below(256) as u8,
                    _ => {}
                }
            }
            fuzz_resp_dump(&bytes);
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
