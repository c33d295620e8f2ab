//! Random bytes as scripts, and as what libraries read: all comes to an end, nothing is left, and the next script runs.

use super::{LONGEST, Tried, on_cpu};

/// Scripts of each kind.
const SCRIPTS: usize = 1500;

/// Splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ word >> 31) % bound as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        (0..self.below(len_max)).map(|_| self.below(256) as u8).collect()
    }

    /// Pieces one behind the other, now and then with bytes in between.
    fn soup(&mut self, pieces: &[&str], count_max: usize) -> Vec<u8> {
        let mut soup = Vec::new();
        for _ in 0..self.below(count_max) {
            soup.extend_from_slice(self.of(pieces).as_bytes());
            if self.below(20) == 0 {
                soup.extend(self.bytes(4));
            }
        }
        soup
    }
}

const LUA: [&str; 60] = [
    " ",
    "\n",
    "return ",
    "local x ",
    "= ",
    "x ",
    "y ",
    "function f() ",
    "end ",
    "if ",
    "then ",
    "else ",
    "while true do ",
    "for i = 1, 9 do ",
    "repeat ",
    "until ",
    "do ",
    "and ",
    "or ",
    "not ",
    "nil ",
    "true ",
    "false ",
    "1 ",
    "1e308 ",
    "'a' ",
    "[[b]] ",
    "\"c\" ",
    "--",
    "--[[",
    "]]",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ", ",
    "; ",
    "..",
    "...",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "#",
    "==",
    "~=",
    "<",
    ">=",
    ".",
    ":",
    "break ",
    "redis.call('get', 'k') ",
    "pcall(error) ",
    "string.rep('x', 1e5) ",
    "_G ",
    "coroutine.wrap(f)() ",
];
const JSON: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"a\"",
    "\"",
    "\\u0041",
    "\\ud800",
    "\\",
    "1",
    "-",
    "1e400",
    "0x1p4",
    "nan",
    "infinity",
    "true",
    "fals",
    "null",
    " ",
    "\n",
    "0.",
    "[[[[[[[[[[[[[[[[",
];
const PATTERNS: [&str; 26] = [
    "a", "b", ".", "%a", "%d", "%s", "%w", "%b()", "%f[a]", "%1", "%2", "%", "[", "]", "[^a]", "[a-",
    "[%w_]", "(", ")", "()", "*", "+", "-", "?", "^", "$",
];
const FORMATS: [&str; 28] = [
    ">", "<", "=", "!4", "!", "b", "B", "h", "H", "l", "L", "i", "I", "i3", "I9", "i99", "x", "s", "c5",
    "c0", "d", "f", "T", " ", "%d", "%s", "%5.3q", "%999f",
];

/// What is asked of a library about two arguments.
const ASKED: [&str; 20] = [
    "return cjson.decode(ARGV[1])",
    "cjson.decode_invalid_numbers(true) return cjson.decode(ARGV[1])",
    "return cjson.encode({ARGV[1], [ARGV[2]] = 1})",
    "return cmsgpack.unpack(ARGV[1])",
    "return {cmsgpack.unpack_one(ARGV[1], #ARGV[2])}",
    "return {cmsgpack.unpack_limit(ARGV[1], 3, -1)}",
    "return cmsgpack.unpack(cmsgpack.pack(ARGV[1], {ARGV[2]}))",
    "return {struct.unpack(ARGV[2], ARGV[1])}",
    "return struct.pack(ARGV[2], 1, 2, ARGV[1], 4, 5)",
    "return struct.size(ARGV[2])",
    "return {string.find(ARGV[1], ARGV[2])}",
    "return {string.match(('ab '):rep(500), ARGV[2])}",
    "return {string.gsub(ARGV[1], ARGV[2], '%0%1')}",
    "for w in string.gmatch(ARGV[1], ARGV[2]) do end return 1",
    "return string.format(ARGV[2], 1, ARGV[1], 3.5, -1)",
    "return tonumber(ARGV[1], 16)",
    "return {bit.tobit(tonumber(ARGV[1]) or 2^53), bit.lshift(1, #ARGV[1]), bit.bswap(#ARGV[2])}",
    "return loadstring(ARGV[1])()",
    "return redis.sha1hex(ARGV[1])",
    "return redis.error_reply(ARGV[1])",
];

fn comes_to_an_end(tried: &mut Tried, text: &[u8], arguments: &[&[u8]]) {
    let began = on_cpu();
    let shown = || {
        format!(
            "{} of {:?}",
            text.escape_ascii(),
            arguments.iter().map(|word| word.escape_ascii().to_string())
        )
    };
    tried.run_with(text, arguments, false);
    let took = on_cpu() - began;
    assert!(took < LONGEST, "{took:?}: {}", shown());
    assert!(tried.interpreter.bytes_held() < 3 << 20, "{}: {}", tried.interpreter.bytes_held(), shown());
}

fn is_as_before(tried: &mut Tried) {
    tried.interpreter.retain(|_| false);
    assert_eq!(tried.run("return {1, ('x'):upper(), cjson.encode({1}), #KEYS}"), "*4|:1|$1|X|$3|[1]|:2|");
}

#[test]
fn any_bytes_are_a_script_or_none() {
    let (mut tried, mut random) = (Tried::new(), Random(0x5EED));
    for number in 0..SCRIPTS {
        let texts = [random.bytes(80), random.soup(&LUA, 30), [&b"\x1bLua"[..], &random.bytes(60)].concat()];
        texts.iter().for_each(|text| comes_to_an_end(&mut tried, text, &[b"a", b"b"]));
        if number % 50 == 0 {
            is_as_before(&mut tried);
        }
    }
    is_as_before(&mut tried);
}

#[test]
fn libraries_read_any_bytes() {
    let (mut tried, mut random) = (Tried::new(), Random(0xB00C));
    for number in 0..4 * SCRIPTS {
        let what = match random.below(4) {
            0 => random.bytes(60),
            1 => random.soup(&JSON, 25),
            2 => random.soup(&LUA, 12),
            // The heads of MessagePack's longer types, and lengths that are not there.
            _ => {
                let head = [random.below(64) as u8 + 0xC0, random.below(256) as u8];
                [&head[..random.below(3)], &random.bytes(12)].concat()
            }
        };
        let how = match random.below(3) {
            0 => random.bytes(12),
            1 => random.soup(&PATTERNS, 14),
            _ => random.soup(&FORMATS, 8),
        };
        comes_to_an_end(&mut tried, random.of(&ASKED).as_bytes(), &[&what, &how]);
        if number % 100 == 0 {
            is_as_before(&mut tried);
        }
    }
    is_as_before(&mut tried);
}
