//! Reads the wire vectors of RESP: see `net/proto/vectors/resp/README.md`.
#![allow(dead_code, reason = "every test binary uses another part")]

use std::path::Path;

/// One case of a file.
pub(crate) struct Case {
    /// File, line and name.
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) close: bool,
}

/// One exchange.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) wait_ms: u64,
    pub(crate) send: Vec<u8>,
    pub(crate) expect: Vec<u8>,
    /// What Redis answers; `None`: not compared.
    pub(crate) redis: Option<Vec<u8>>,
}

/// All cases of all files.
pub(crate) fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors/resp");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the vectors").map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).expect("UTF-8");
    let file = path.file_name().expect("a name").to_string_lossy();
    let mut cases: Vec<Case> = Vec::new();
    // What the last line was, so that lines of one kind join.
    let mut last = "";
    for (number, line) in text.lines().enumerate() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if kind == "#" {
            cases.push(Case {
                name: format!("{file}:{} {rest}", number + 1),
                steps: Vec::new(),
                close: false,
            });
            last = "";
            continue;
        }
        let Some(case) = cases.last_mut() else { panic!("{file}:{} stands before a case", number + 1) };
        assert!((kind, last) != ("@", "$"), "{file}:{}: an answer stands before a wait", number + 1);
        if matches!(kind, "$" | ">" | "@") && !matches!(last, "$" | "@") {
            case.steps.push(Step { redis: Some(Vec::new()), ..Step::default() });
        }
        let step = case.steps.last_mut();
        match (kind, step) {
            ("$", Some(step)) => step.send.extend_from_slice(&array(&words(rest))),
            (">", Some(step)) => step.send.extend_from_slice(&unescape(rest)),
            ("@", Some(step)) => step.wait_ms += rest.parse::<u64>().expect("milliseconds"),
            ("<", Some(step)) => {
                step.expect.extend_from_slice(&unescape(rest));
                step.redis = Some(step.expect.clone());
            }
            ("r<", Some(step)) => {
                if last != "r<" {
                    step.redis = Some(Vec::new());
                }
                step.redis.as_mut().expect("set above").extend_from_slice(&unescape(rest));
            }
            ("r*", Some(step)) => step.redis = None,
            ("close", _) => case.close = true,
            ("", _) => {}
            _ => panic!("{file}:{}: {line}", number + 1),
        }
        last = match kind {
            "$" | ">" => "$",
            "@" => "@",
            "<" => "<",
            "r<" => "r<",
            _ => "",
        };
    }
    cases
}

/// The request that a client sends for these words.
pub(crate) fn array(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    torc_proto::resp::compose::request(&mut bytes, words);
    bytes
}

fn words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a closing quote"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(unescape(word));
        rest = behind.trim_start();
    }
    words
}

/// Resolves escapes and repetitions.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        if first == '{'
            && let Some((repeat, behind)) = behind.split_once('}')
            && let Some((unit, count)) = repeat.split_once('*')
            && let Ok(count) = count.parse()
        {
            bytes.extend(unit.as_bytes().repeat(count));
            rest = behind;
        } else if first == '\\' {
            let escape = behind.chars().next().expect("something behind a backslash");
            let (byte, len) = match escape {
                'r' => (b'\r', 1),
                'n' => (b'\n', 1),
                't' => (b'\t', 1),
                '\\' => (b'\\', 1),
                'x' => (u8::from_str_radix(&behind[1..3], 16).expect("two hexadecimal digits"), 3),
                other => panic!("\\{other} is no escape: {text}"),
            };
            bytes.push(byte);
            rest = &behind[len..];
        } else {
            bytes.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            rest = behind;
        }
    }
    bytes
}
