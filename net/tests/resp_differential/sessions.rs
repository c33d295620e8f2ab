//! Random commands about the client's own session, about messages, and about commands themselves.

use super::Words;
use super::commands::{KEYS, NUMBERS, WORDS, any_command, words};
use super::random::Random;

/// What RESTORE takes: packed values of Redis 7.0, and one that is none.
const PACKED: [&[u8]; 5] = [
    b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb",
    b"\x00\x05hello\n\x00cr\xdfve4 \n",
    b"\x00\x03abc\n\x00\xd9\xac0=Ar\xa2\xe2",
    b"\x00\xc3\t@d\x01xx\xe0W\x00\x01xx\n\x00]\xb7\xf6c\xbb\x08b_",
    b"\x00\x03abd\n\x00\xd9\xac0=Ar\xa2\xe2",
];

pub(crate) fn sessions(random: &mut Random) -> Words {
    let word = random.of(&WORDS);
    match random.below(16) {
        0 => words(&["AUTH", word]),
        1 => words(&["AUTH", random.of(&["default", "nobody", ""]), word]),
        2..5 => tracking(random),
        5 => words(&["CLIENT", "CACHING", random.of(&["YES", "no", "x"])]),
        6 => words(&["CLIENT", random.of(&["GETREDIR", "TRACKINGINFO", "GETNAME", "WHAT", "CACHING"])]),
        7 => words(&["CLIENT", "SETNAME", random.of(&["name", "", "two words", "line\n"])]),
        8 => {
            words(&["CLIENT", random.of(&["NO-EVICT", "UNPAUSE", "UNBLOCK"]), random.of(&["on", "off", "x"])])
        }
        9 => words(&["PUBLISH", random.of(&KEYS), word]),
        10 => words(&["SPUBLISH", random.of(&KEYS), word]),
        11 => words(&["PUBSUB", random.of(&["CHANNELS", "NUMSUB", "NUMPAT", "SHARDNUMSUB", "WHAT"]), word]),
        12 | 13 => {
            let name = random.of(&["GETKEYS", "GETKEYSANDFLAGS"]);
            words(&["COMMAND", name]).into_iter().chain(any_command(random)).collect()
        }
        _ => restore(random),
    }
}

fn tracking(random: &mut Random) -> Words {
    let begins = random.of(&["ON", "on", "OFF", "x"]);
    // Redis looks for the client of a REDIRECT that goes with OFF, and then does nothing.
    let clients: &[&str] = if begins.eq_ignore_ascii_case("ON") { &["999999", "x", "0"] } else { &["x"] };
    let mut command = words(&["CLIENT", "TRACKING", begins]);
    for _ in 0..random.below(4) {
        command.extend(match random.below(7) {
            0 => words(&["BCAST"]),
            1 => words(&["PREFIX", random.of(&["a", "ab", "{t}", ""])]),
            2 => words(&["OPTIN"]),
            3 => words(&["OPTOUT"]),
            4 => words(&["NOLOOP"]),
            5 => words(&["REDIRECT", random.of(clients)]),
            _ => words(&[random.of(&["PREFIX", "what"])]),
        });
    }
    command
}

fn restore(random: &mut Random) -> Words {
    let mut command = words(&["RESTORE", random.of(&KEYS), random.of(&["0", "0", "100000000", "-1", "x"])]);
    let mut packed = random.of(&PACKED).to_vec();
    if random.one_in(4) {
        let at = random.below(packed.len());
        packed[at] ^= 1 << random.below(8);
    }
    command.push(packed);
    for _ in 0..random.below(3) {
        command.extend(match random.below(5) {
            0 | 1 => words(&["REPLACE"]),
            2 => words(&["ABSTTL"]),
            3 => words(&["IDLETIME", random.of(&NUMBERS)]),
            _ => words(&["FREQ", random.of(&NUMBERS)]),
        });
    }
    command
}
