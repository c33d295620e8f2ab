//! The fuzz body over the kept corpus and a fixed number of changed inputs. An input that broke something once
//! is added to `corpus/resp`.

use std::path::Path;
use torc_proto::resp::fuzz::fuzz_resp_request;

/// Changed inputs made of each kept one.
const CHANGED: usize = 3_000;

#[test]
fn kept_inputs_and_changes_of_them() {
    let inputs = corpus();
    assert!(inputs.len() > 10, "the corpus is there");
    let mut random = Random(0x5EED);
    for input in &inputs {
        fuzz_resp_request(input);
        for _ in 0..CHANGED {
            let other = &inputs[random.below(inputs.len())];
            fuzz_resp_request(&changed(input, other, &mut random));
        }
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/resp");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
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

/// splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % end as u64) as usize
    }
}
