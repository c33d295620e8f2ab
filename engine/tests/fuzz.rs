//! The store's fuzz body over the kept corpus and a fixed number of mutations of it.
//!
//! `engine/corpus/` holds one file a theme; an input that has found a fault is kept there by its name.

mod support;

use std::path::Path;

/// Mutations of each file of the corpus.
const MUTATIONS: u64 = 24;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is part of the crate")
        .map(|entry| entry.expect("a readable folder").path())
        .map(|path| (path.display().to_string(), std::fs::read(path).expect("a readable file")))
        .collect();
    files.sort();
    files
}

/// The next number of a sequence (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Changes bytes, copies a piece over another, or cuts the end off.
fn mutate(bytes: &mut Vec<u8>, seed: u64) {
    let mut state = seed;
    for _ in 0..1 + next(&mut state) % 16 {
        if bytes.len() < 2 {
            return;
        }
        let pick = |state: &mut u64| next(state) as usize % bytes.len();
        let (from, to) = (pick(&mut state), pick(&mut state));
        match next(&mut state) % 8 {
            0 => {
                let len = (bytes.len() - from.max(to)).min(36);
                bytes.copy_within(from..from + len, to);
            }
            1 => bytes.truncate(from.max(bytes.len() / 2)),
            2 => bytes[to] ^= 1 << (from & 7),
            _ => bytes[to] = next(&mut state) as u8,
        }
    }
}

#[test]
fn the_store_stands_the_corpus_and_its_mutations() {
    let corpus = corpus();
    assert!(corpus.len() >= 10, "the corpus is there");
    for (number, (name, bytes)) in corpus.iter().enumerate() {
        println!("{name}");
        support::fuzz_store(bytes);
        for mutation in 0..MUTATIONS {
            let seed = number as u64 * 1000 + mutation;
            let mut bytes = bytes.clone();
            mutate(&mut bytes, seed);
            println!("{name}, mutation {seed}");
            support::fuzz_store(&bytes);
        }
    }
}
