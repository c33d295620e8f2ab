//! Random scripts around random calls of commands.

use super::random::Random;
use std::fmt::Write;

const VALUES: [&str; 14] = [
    "''",
    "'v'",
    "'12'",
    "'-7'",
    "'3.25'",
    "'a b'",
    "('x'):rep(100)",
    "12",
    "-1",
    "0.1",
    "1e20",
    "'\\0\\1'",
    "ARGV[1]",
    "KEYS[2]",
];

/// A value that is no answer.
pub(crate) fn plain(random: &mut Random) -> &'static str {
    random.of(&VALUES)
}

/// What is done with an answer, or a value by itself.
fn value(random: &mut Random, call: &dyn Fn(&mut Random) -> String, depth: usize) -> String {
    match random.below(if depth > 2 { 4 } else { 16 }) {
        0 => call(random),
        1 => plain(random).to_owned(),
        2 => random.of(&["nil", "true", "false", "1.7", "-2.5", "2^53", "1/3"]).to_owned(),
        3 => random.of(&["{ok='fine'}", "{err='ERR bad'}", "{double=1.5}", "{}", "{map={a=1}}"]).to_owned(),
        4 => format!("{{{}, {}}}", value(random, call, depth + 1), value(random, call, depth + 1)),
        5 => format!("type({})", value(random, call, depth + 1)),
        6 => format!("tostring(({}) == nil)", value(random, call, depth + 1)),
        7 => "select(2, pcall(redis.call, 'incr', KEYS[1]))".to_owned(),
        8 => format!("cjson.encode({{{}}})", value(random, call, depth + 1)),
        9 => format!("cmsgpack.pack({})", plain(random)),
        10 => format!("#tostring({})", plain(random)),
        11 => format!(
            "redis.error_reply({})",
            random.of(&["'MINE words'", "'words'", "''", "'-ERR x'", "12", "{}"])
        ),
        12 => format!("redis.status_reply({})", random.of(&["'FINE'", "''", "'two words'", "7", "nil"])),
        13 => format!(
            "{{{}, {{{}, {{{}}}}}, nil, 1}}",
            plain(random),
            call(random),
            value(random, call, depth + 1)
        ),
        14 => random
            .of(&[
                "{big_number='12345678901234567890'}",
                "{verbatim_string={string='x',format='txt'}}",
                "{set={a=true}}",
                "{ok=1}",
                "{err=1}",
                "{double='x'}",
                "{map={1,2}}",
            ])
            .to_owned(),
        _ => format!("({}) or 'other'", value(random, call, depth + 1)),
    }
}

/// A script whose calls of commands are made by `call`. It may expect six keys and an argument.
pub(crate) fn script(random: &mut Random, call: &dyn Fn(&mut Random) -> String) -> String {
    let mut text = String::new();
    if random.one_in(8) {
        text += "redis.setresp(3) ";
    }
    for _ in 0..random.below(4) {
        let _ = match random.below(6) {
            0 => write!(text, "for i = 1, {} do {} end ", random.below(4), call(random)),
            1 => write!(text, "if redis.call('exists', KEYS[1]) == 1 then {} end ", call(random)),
            2 => write!(text, "local r{0} = {1} ", random.below(3), value(random, call, 1)),
            _ => write!(text, "{} ", call(random)),
        };
    }
    match random.below(12) {
        0 => text + "error('words')",
        1 => text + "error({err='MINE words'})",
        2 => text + "return unknown",
        _ => text + "return " + &value(random, call, 0),
    }
}
