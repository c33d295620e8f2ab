//! Scripts, their replies and errors.

mod hostile;

use crate::{Ended, Host, Interpreter, Invocation, Level, Limits, Stop};
use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::time::Duration;

/// Knows GET, SET and INCR, and a few answers of other kinds.
#[derive(Default)]
struct Store {
    values: HashMap<Vec<u8>, Vec<u8>>,
    logged: Vec<u8>,
    calls: usize,
}

impl Host for Store {
    fn call(&mut self, request: &[u8], words: usize, resp3: bool, answer: &mut Vec<u8>) -> Result<(), Stop> {
        self.calls += 1;
        let lines: Vec<&[u8]> = request.split(|byte| *byte == b'\n').collect();
        let word = |index: usize| lines.get(2 * index + 2).map_or(&b""[..], |line| &line[..line.len() - 1]);
        let bulk = |value: Option<&Vec<u8>>| match value {
            Some(value) => format!("${}\r\n{}\r\n", value.len(), String::from_utf8_lossy(value)),
            None if resp3 => "_\r\n".into(),
            None => "$-1\r\n".into(),
        };
        let text = match (word(0).to_ascii_lowercase().as_slice(), words) {
            (b"get", 2) => bulk(self.values.get(word(1))),
            (b"set", 3) => {
                self.values.insert(word(1).to_vec(), word(2).to_vec());
                "+OK\r\n".into()
            }
            (b"incr", 2) => {
                let old =
                    self.values.get(word(1)).map_or(Ok(0), |old| String::from_utf8_lossy(old).parse::<i64>());
                match old {
                    Ok(old) => {
                        self.values.insert(word(1).to_vec(), (old + 1).to_string().into_bytes());
                        format!(":{}\r\n", old + 1)
                    }
                    Err(_) => "-ERR value is not an integer or out of range\r\n".into(),
                }
            }
            (b"answer", 2) => String::from_utf8_lossy(word(1)).replace('|', "\r\n"),
            (b"stop", 1) => return Err(Stop::Host),
            _ => "-ERR Unknown Redis command called from script\r\n".into(),
        };
        answer.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn log(&mut self, level: Level, text: &[u8]) {
        self.logged.extend_from_slice(format!("{level:?} ").as_bytes());
        self.logged.extend_from_slice(text);
    }
}

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, time: Duration::from_millis(100) };
/// A script is stopped before it has had so much CPU.
const LONGEST: Duration = Duration::from_millis(1500);

/// What this thread has had of CPUs: what others take of them does not count.
fn on_cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel tells of it");
    Duration::from_nanos(told.split(' ').next().and_then(|time| time.parse().ok()).expect("a time"))
}

struct Tried {
    interpreter: Interpreter,
    store: Store,
}

impl Tried {
    fn new() -> Tried {
        Tried { interpreter: Interpreter::new("7.0.15").unwrap(), store: Store::default() }
    }

    fn run_as(&mut self, text: &str, resp3: bool) -> (Ended, String) {
        let (ended, reply) = self.run_bytes(text, resp3);
        (ended, String::from_utf8_lossy(&reply).into_owned())
    }

    fn run_bytes(&mut self, text: &str, resp3: bool) -> (Ended, Vec<u8>) {
        self.run_with(text.as_bytes(), &[b"a1", b"a2"], resp3)
    }

    fn run_with(&mut self, text: &[u8], arguments: &[&[u8]], resp3: bool) -> (Ended, Vec<u8>) {
        let digest: [u8; 20] = Sha1::digest(text).into();
        if !self.interpreter.has(&digest)
            && let Err(error) = self.interpreter.load(&digest, text)
        {
            let words = [b"-ERR Error compiling script (new function): ", &error[..], b"\r\n"].concat();
            return (Ended::Failed, words);
        }
        let keys = [&b"k1"[..], b"k2"];
        let invocation = Invocation { digest: &digest, keys: &keys, arguments, resp3, limits: LIMITS };
        let mut reply = Vec::new();
        let ended = self.interpreter.run(&mut self.store, &invocation, &mut reply);
        (ended, reply)
    }

    /// The reply; errors without what tells of the script.
    fn run(&mut self, text: &str) -> String {
        let (ended, reply) = self.run_as(text, false);
        match ended {
            Ended::Stopped(why) => format!("{why:?}"),
            _ => match reply.split_once(" script: ") {
                Some((error, rest)) => format!("{error}{}", &rest[40..]).trim_end().to_owned(),
                None => reply.replace("\r\n", "|"),
            },
        }
    }
}

/// As many arguments as there may be leave room for the answer.
#[test]
fn a_command_takes_as_many_arguments_as_in_redis() {
    let call = |count: usize| {
        format!("local a = {{}} for i = 1, {count} do a[i] = 'x' end return redis.call('answer', unpack(a))")
    };
    let unknown = "-ERR Unknown Redis command called from script, on @user_script:1.";
    assert_eq!(Tried::new().run(&call(7_998)), unknown);
    let too_many = "-ERR user_script:1: too many results to unpack, on @user_script:1.";
    assert_eq!(Tried::new().run(&call(8_000)), too_many);
}

/// What Redis 7.0 answers.
#[test]
fn replies_and_errors_are_redis_own() {
    let place = ", on @user_script:1.";
    let table = [
        ("return foo", "-ERR user_script:1: Script attempted to access nonexistent global variable 'foo'@"),
        ("foo = 1", "-ERR user_script:1: Attempt to modify a readonly table@"),
        ("redis.x = 1", "-ERR user_script:1: Attempt to modify a readonly table@"),
        ("string.x = 1", "-ERR user_script:1: Attempt to modify a readonly table@"),
        ("KEYS = 1", "-ERR user_script:1: Attempt to modify a readonly table@"),
        ("KEYS[3] = 'x' return KEYS", "*3|$2|k1|$2|k2|$1|x|"),
        ("return redis.call('nope')", "-ERR Unknown Redis command called from script@"),
        ("return redis.pcall('nope')", "-ERR Unknown Redis command called from script|"),
        ("return redis.call('get', {})", "-ERR Lua redis lib command arguments must be strings or integers@"),
        ("return redis.call()", "-ERR Please specify at least one argument for this redis lib call@"),
        ("redis.call('set','k',1.5) return redis.call('get','k')", "$3|1.5|"),
        (
            "redis.call('set','k',12345678901234567890) return redis.call('get','k')",
            "$22|1.2345678901234567e+19|",
        ),
        ("redis.call('set','k',0.1) return redis.call('get','k')", "$19|0.10000000000000001|"),
        ("return redis.call('incr','k')", "-ERR value is not an integer or out of range@"),
        (
            "local ok,e = pcall(redis.call,'incr','k') return {type(e), e}",
            "*2|$6|string|$43|ERR value is not an integer or out of range|",
        ),
        ("return redis.error_reply('x')", "-ERR x|"),
        ("return redis.error_reply('-x')", "-ERR x|"),
        ("return redis.error_reply('MY err text')", "-MY err text|"),
        ("return redis.error_reply(1)", "-ERR wrong number or type of arguments|"),
        ("return redis.status_reply('fine')", "+fine|"),
        ("return {err='CODE plain\\nline'}", "-CODE plain line|"),
        ("return {ok='fine\\r\\nx'}", "+fine  x|"),
        ("return {1,2,nil,4}", "*2|:1|:2|"),
        ("return {1,2.7,'3',true,false,{1,{2}},-3.99}", "*7|:1|:2|$1|3|:1|$-1|*2|:1|*1|:2|:-3|"),
        ("return 3.99", ":3|"),
        ("return 1e20", ":-9223372036854775808|"),
        ("return true", ":1|"),
        ("return false", "$-1|"),
        ("return nil", "$-1|"),
        ("return {double=3.5}", "$3|3.5|"),
        ("return {map={a=1}}", "*2|$1|a|:1|"),
        ("return {set={a=true}}", "*1|$1|a|"),
        ("return {big_number='123'}", "$3|123|"),
        ("return {verbatim_string={format='txt',string='hi'}}", "$2|hi|"),
        ("error('oops')", "-ERR user_script:1: oops@"),
        ("error({err='MYERR oops'})", "-MYERR oops@"),
        ("error()", "-ERR nil@"),
        ("error(42)", "-ERR user_script:1: 42@"),
        (
            "return 1 +",
            "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'|",
        ),
        ("local x = nil; return x.y", "-ERR user_script:1: attempt to index local 'x' (a nil value)@"),
        ("return redis.sha1hex('abc')", "$40|a9993e364706816aba3e25717850c26c9cd0d89d|"),
        ("return redis.sha1hex()", "-ERR wrong number of arguments@"),
        ("redis.log('x', 'hello')", "-ERR First argument must be a number (log level).@"),
        ("redis.log(9, 'x')", "-ERR Invalid debug level.@"),
        ("return redis.setresp(1)", "-ERR RESP version must be 2 or 3.@"),
        ("redis.setresp(3) return type(redis.call('get','nokey'))", "$3|nil|"),
        ("return type(redis.call('get','nokey'))", "$7|boolean|"),
        ("redis.setresp(3) return true", ":1|"),
        ("redis.setresp(3) return false", ":0|"),
        ("return math.random(1000)", ":397|"),
        (
            "return {math.random(1000), math.random(1000), math.random(10,20), tostring(math.random())}",
            "*4|:841|:354|:14|$16|0.31869277233197|",
        ),
        (
            "math.randomseed(7) return {math.random(1000), tostring(math.random())}",
            "*2|:267|$16|0.68203523041775|",
        ),
        ("return math.random(0)", "-ERR user_script:1: bad argument #1 to 'random' (interval is empty)@"),
        ("return loadstring('return 7')()", ":7|"),
        ("return select('#', loadstring(string.dump(function() return 1 end)))", ":2|"),
        ("return {pcall(loadstring, nil)}", "*2|$-1|$49|bad argument #1 to '?' (string expected, got nil)|"),
        ("return setmetatable(_G, {})", "-ERR Attempt to modify a readonly table@"),
        ("return rawset(_G, 'x', 1)", "-ERR Attempt to modify a readonly table@"),
        ("return getmetatable('').__index == string", ":1|"),
        ("getmetatable('').__index = 1", "-ERR user_script:1: Attempt to modify a readonly table@"),
        ("return {pcall(error, 'x')}", "*2|$-1|$1|x|"),
        ("return {pcall(error, {err='x'})}", "*2|$-1|$1|x|"),
        (
            "return string.rep()",
            "-ERR user_script:1: bad argument #1 to 'rep' (string expected, got no value)@",
        ),
        ("return ('x'):rep(-1)", "$0||"),
        ("return ('x'):find('[')", "-ERR user_script:1: malformed pattern (missing ']')@"),
        ("return ('x'):find('%')", "-ERR user_script:1: malformed pattern (ends with '%')@"),
        ("return ('x'):gsub('x', '%9')", "-ERR user_script:1: invalid capture index@"),
        (
            "return ('x'):gsub('x', true)",
            "-ERR user_script:1: bad argument #2 to 'gsub' (string/function/table expected)@",
        ),
        ("return {('hello world'):find('o w')}", "*2|:5|:7|"),
        ("return {('hello'):match('(h)(e)()')}", "*3|$1|h|$1|e|:3|"),
        ("return {('abc'):gsub('%w', '%0%0')}", "*2|$6|aabbcc|:3|"),
        ("local t = {} t[1] = t return #t", ":1|"),
        ("return coroutine.yield(1)", "-ERR attempt to yield across metamethod/C-call boundary@"),
        ("local a = coroutine.wrap(function() coroutine.yield(1) end) return a()", ":1|"),
        ("local function f() return f() + 1 end return f()", "-ERR user_script:1: stack overflow@"),
        ("local function f(n) return pcall(f, n+1) end return f(1)", ":1|"),
        (
            "return {xpcall(function() error('x') end, function(e) return 'h'..e end)}",
            "*2|$-1|$17|huser_script:1: x|",
        ),
        ("return redis.call('answer', '*2|:1|*1|$-1|')", "*2|:1|*1|$-1|"),
        ("return redis.call('answer', '*-1|')", "$-1|"),
        ("return #ARGV .. KEYS[2] .. ARGV[1]", "$5|2k2a1|"),
    ];
    let (mut tried, mut wrong) = (Tried::new(), String::new());
    for (text, expected) in table {
        let expected =
            expected.strip_suffix('@').map_or(expected.to_owned(), |error| format!("{error}{place}"));
        let got = tried.run(text);
        if got != expected {
            wrong += &format!("{text}\n  {got}\n  {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Bytes as `vectors.txt` has them.
fn shown(bytes: &[u8]) -> String {
    let show = |byte: &u8| match byte {
        0x20..=0x7E if *byte != b'\\' => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    bytes.iter().map(show).collect()
}

#[test]
fn libraries_do_what_they_do_in_redis() {
    let (mut tried, mut wrong) = (Tried::new(), String::new());
    let lines = include_str!("vectors.txt").lines().filter(|line| !line.starts_with('#'));
    for (text, expected) in lines.filter_map(|line| line.split_once(" --> ")) {
        let got = match tried.run_bytes(text, false) {
            (Ended::Stopped(why), _) => format!("{why:?}"),
            (_, reply) => shown(&reply).replace("\\x0d\\x0a", "|"),
        };
        let got = match got.split_once(" script: ") {
            Some((error, rest)) => format!("{error}{}", &rest[40..]).replace(", on @user_script:1.", "@"),
            None => got,
        };
        if got != expected {
            wrong += &format!("{text}\n  got      {got}\n  expected {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn replies_of_resp3_have_its_types() {
    let table = [
        ("return {double=3.5}", ",3.5|"),
        ("return {map={a=1}}", "%1|$1|a|:1|"),
        ("return {set={a=true}}", "~1|$1|a|"),
        ("return {big_number='123'}", "(123|"),
        ("return {verbatim_string={format='txt',string='hi'}}", "=6|txt:hi|"),
        ("return nil", "_|"),
        ("return true", ":1|"),
        ("redis.setresp(3) return true", "#t|"),
        ("redis.setresp(3) return redis.call('answer', '%1|+a|,1.5|').map['a'] == nil", "#t|"),
        ("redis.setresp(3) return redis.call('answer', '~2|:1|:2|')", "~2|:1|:2|"),
        ("redis.setresp(3) return redis.call('answer', '=6|txt:hi|')", "=6|txt:hi|"),
        ("redis.setresp(3) return redis.call('answer', '(77|')", "(77|"),
        ("redis.setresp(3) return redis.call('answer', '#f|')", "#f|"),
        ("redis.setresp(3) return redis.call('answer', ',2.25|')", ",2.25|"),
    ];
    let mut tried = Tried::new();
    for (text, expected) in table {
        assert_eq!(tried.run_as(text, true).1.replace("\r\n", "|"), expected, "{text}");
    }
}

/// What would hang a server, or take all of its memory.
#[test]
fn what_does_not_end_is_stopped_and_cannot_catch_that() {
    let time = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(pcall, pcall, error) end",
        "xpcall(function() while true do end end, function() while true do end end)",
        "local function f() return f() end f()",
        "string.find(('a'):rep(50), ('a*'):rep(30)..'b')",
        "while true do pcall(string.find, ('a'):rep(50), ('a*'):rep(30)..'b') end",
        "string.match(('a'):rep(50), ('a-'):rep(30)..'b')",
        "string.gsub(('a'):rep(50), ('a*'):rep(30)..'b', '')",
        "for w in string.gmatch(('a'):rep(50), ('a*'):rep(30)..'b') do end",
        "local s = ('x'):rep(1e6) while true do s:find('x*y') end",
        "local s = ('a'):rep(5e6) while true do local x = s:upper() end",
        "local s = ('a'):rep(5e6) while true do local x = s .. 'b' end",
        "local t = {} for i = 1, 3e5 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
        "while true do pcall(table.insert, {}, -2147483648, 1) pcall(table.insert, {}, -1000, 1) end",
        "while true do pcall(unpack, {}, -2147483648, 2147483647) pcall(unpack, {}, 1, 7000) end",
        "local t = {} for i = 1, 1e9 do table.insert(t, 1, i % 7) if i > 1e4 then table.sort(t) end end",
        "local s = ('x'):rep(1.4e7) local t = {} for i = 1, 64 do t[i] = s end while true do table.sort(t) end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "local function f() while true do end end while true do pcall(coroutine.wrap(f)) end",
        "while true do loadstring('return 1') end",
        "while true do redis.log(0, 'x') end",
        "while true do redis.call('get', 'x') end",
        "return (''):rep(1e15)..tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    ];
    let mut tried = Tried::new();
    for text in time {
        let began = on_cpu();
        assert_eq!(tried.run(text), "Time", "{text}");
        let took = on_cpu() - began;
        assert!(took < LONGEST, "{took:?}: {text}");
        assert_eq!(tried.run("return 1"), ":1|", "the next one runs");
    }
    let memory = [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "return ('x'):rep(1e9)",
        "return ('x'):rep(1e15)",
        "local s = 'x' while true do s = s .. s end",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = s end return t",
        "local s = ('x'):rep(1e6) return s:gsub('x', s)",
        "local s = ('x'):rep(2e6) local t = {} for i = 1, 7000 do t[i] = s end redis.pcall('ping', unpack(t))",
        "local t = {} for i = 1, 7000 do t[i] = 'x' end local s = ('%s'):rep(7000) s = s:format(unpack(t)) return (s:rep(9999))",
    ];
    for text in memory {
        let got = tried.run(text);
        assert!(["Memory", "Time"].contains(&got.as_str()), "{got} {text}");
        assert_eq!(tried.run("return 1"), ":1|", "the next one runs");
        assert!(tried.interpreter.bytes_held() < 3 << 20, "{} {text}", tried.interpreter.bytes_held());
    }
}

#[test]
fn a_host_that_stops_a_script_cannot_be_outwitted() {
    let mut tried = Tried::new();
    assert_eq!(tried.run("while true do pcall(redis.call, 'stop') redis.pcall('stop') end"), "Host");
    let calls = tried.store.calls;
    assert_eq!(
        tried.run("local f = coroutine.wrap(function() redis.call('stop') end) while true do pcall(f) end"),
        "Host"
    );
    assert!(tried.store.calls <= calls + 2, "nothing is asked of it any more");
}

#[test]
fn scripts_leave_nothing_for_others() {
    let mut tried = Tried::new();
    for text in [
        "table.insert(_G, 1) return 1",
        "table.insert(string, 'x') return 1",
        "table.insert(redis, 1, 'x') return 1",
        "getmetatable('').x = 1",
        "getmetatable(_G).__index = 1",
        "getmetatable(string).x = 1",
        "setmetatable(getmetatable(''), nil).x = 1",
    ] {
        assert!(tried.run(text).starts_with("-ERR "), "{text}");
    }
    let metatables = "for _, t in ipairs({_G, string, redis, getmetatable('')}) do if getmetatable(t) then return 0 end end";
    assert_eq!(tried.run(&format!("{metatables} return 1")), ":1|", "nothing is told that could be changed");
    assert_eq!(
        tried.run("return {rawget(_G, 1) == nil, rawget(string, 1) == nil, rawget(redis, 1) == nil}"),
        "*3|:1|:1|:1|"
    );
    let forbidden = [
        "io", "os", "debug", "package", "require", "dofile", "loadfile", "print", "newproxy", "module",
        "getfenv", "setfenv",
    ];
    for name in forbidden {
        assert_eq!(
            tried.run(&format!("return rawget(_G, '{name}') == nil and pcall(function() return {name} end)")),
            "$-1|",
            "{name}"
        );
    }
}

#[test]
fn the_log_gets_lines() {
    let mut tried = Tried::new();
    tried.run("redis.log(redis.LOG_WARNING, 'a', 1.5, 'b')");
    assert_eq!(tried.store.logged, b"Warning a 1.5 b");
}

#[test]
fn scripts_are_forgotten() {
    let mut tried = Tried::new();
    for number in 0..100 {
        tried.run(&format!("return {number}"));
    }
    assert_eq!(tried.interpreter.scripts(), 100);
    let kept: [u8; 20] = Sha1::digest("return 7").into();
    tried.interpreter.retain(|digest| *digest == kept);
    assert_eq!(tried.interpreter.scripts(), 1);
    assert!(tried.interpreter.has(&kept) && !tried.interpreter.has(&Sha1::digest("return 8").into()));
}
