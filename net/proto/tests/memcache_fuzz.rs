//! The fuzz body of the request parser over a kept corpus and a fixed number of mutations of it.

mod support;

use support::{Random, corpus};
use torc_proto::memcache::{fuzz_memcache_request, reply};

const MUTATIONS: usize = 40_000;

const WORDS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b" ",
    b"\r",
    b"\0",
    b"-",
    b"0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"2147483647",
    b"noreply",
    b" b",
    b"set ",
    b"get ",
    b"ms ",
    b"\x7f",
];

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(6) {
            0 => input.truncate(at),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 if at < input.len() => drop(input.remove(at)),
            3 => drop(input.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let end = at + random.below(input.len() - at + 1);
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
        }
    }
    input.truncate(10_000);
}

#[test]
fn no_input_breaks_what_must_hold_for_requests_and_answers() {
    let corpus = corpus("memcache");
    corpus.iter().for_each(|input| fuzz_memcache_request(input));
    let mut random = Random(0x5eed);
    for _ in 0..MUTATIONS {
        let mut input = corpus[random.below(corpus.len())].clone();
        mutate(&mut input, &corpus, &mut random);
        fuzz_memcache_request(&input);
        if let Ok((_, consumed)) = reply::parse(&input) {
            assert!(consumed > 0 && consumed <= input.len());
        }
    }
}
