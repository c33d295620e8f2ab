//! Wire vectors: files of what is sent and what is answered. `net/proto/vectors/memcache/README.md` has the
//! format.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One case: a new connection, an empty store.
#[derive(Debug, Default)]
pub struct Case {
    pub name: String,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub enum Step {
    Exchange {
        send: Template,
        expect: Template,
        peer: Peer,
    },
    /// Milliseconds pass.
    Wait(u64),
    /// The server closes the connection.
    Close,
}

/// What the server that is compared with answers.
#[derive(Debug, Default)]
pub enum Peer {
    #[default]
    Same,
    Other(Template),
    NotCompared,
    /// The case ends here for it.
    NotSent,
}

/// Bytes with numbers left open.
#[derive(Debug, Default, Clone)]
pub struct Template(Vec<Token>);

#[derive(Debug, Clone)]
enum Token {
    Bytes(Vec<u8>),
    Number(String),
}

/// Numbers that answers have filled in.
pub type Numbers = HashMap<String, Vec<u8>>;

/// All cases of a file.
pub fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("\n\n").map(case).filter(|case| !case.steps.is_empty()).collect()
}

/// All cases of a folder's `.txt` files, each with its file and name.
pub fn read_folder(folder: &Path) -> Vec<(String, Case)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let named = |file: PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        read(&file).into_iter().map(move |case| (format!("{name}: {}", case.name), case))
    };
    files.into_iter().flat_map(named).collect()
}

fn case(text: &str) -> Case {
    let mut case = Case::default();
    let mut last = "";
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "#" if case.name.is_empty() => case.name = rest.to_string(),
            "#" => {}
            "@" => case.steps.push(Step::Wait(rest.parse().expect("milliseconds"))),
            "close" => case.steps.push(Step::Close),
            ">" if last == ">" => case.exchange().0.0.extend(template(rest).0),
            ">" => case.steps.push(Step::Exchange {
                send: template(rest),
                expect: Template::default(),
                peer: Peer::Same,
            }),
            "<" => case.exchange().1.0.extend(template(rest).0),
            "m<" => *case.exchange().2 = Peer::Other(template(rest)),
            "m-" => *case.exchange().2 = Peer::NotSent,
            "m*" => *case.exchange().2 = Peer::NotCompared,
            other => panic!("line of kind {other:?} in {line:?}"),
        }
        last = kind;
    }
    case
}

impl Case {
    fn exchange(&mut self) -> (&mut Template, &mut Template, &mut Peer) {
        match self.steps.last_mut() {
            Some(Step::Exchange { send, expect, peer }) => (send, expect, peer),
            other => panic!("no request before an answer, but {other:?}"),
        }
    }

    /// Bytes that the client sends in all, numbers counted as one.
    pub fn bytes_sent(&self) -> usize {
        let length = |step: &Step| match step {
            Step::Exchange { send, .. } => send.0.iter().map(Token::len).sum(),
            _ => 0,
        };
        self.steps.iter().map(length).sum()
    }
}

impl Token {
    fn len(&self) -> usize {
        match self {
            Token::Bytes(bytes) => bytes.len(),
            Token::Number(_) => 1,
        }
    }
}

impl Template {
    /// The bytes, with the numbers known so far.
    pub fn fill(&self, numbers: &Numbers) -> Vec<u8> {
        let mut out = Vec::new();
        for token in &self.0 {
            match token {
                Token::Bytes(bytes) => out.extend_from_slice(bytes),
                Token::Number(name) => {
                    let number = numbers.get(name).unwrap_or_else(|| panic!("{name} is not known yet"));
                    out.extend_from_slice(number);
                }
            }
        }
        out
    }

    /// Whether `bytes` are these, and nothing is behind them; takes open numbers from them.
    pub fn matches(&self, bytes: &[u8], numbers: &mut Numbers) -> bool {
        let mut rest = bytes;
        for token in &self.0 {
            let taken = match token {
                Token::Bytes(bytes) => bytes.clone(),
                Token::Number(name) => {
                    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    if digits == 0 {
                        return false;
                    }
                    numbers.entry(name.clone()).or_insert_with(|| rest[..digits].to_vec()).clone()
                }
            };
            match rest.strip_prefix(&taken[..]) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

fn template(text: &str) -> Template {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        tokens.push(Token::Bytes(unescape(before)));
        let (inner, behind) = behind.split_once('}').expect("a closing brace");
        tokens.push(match inner.rsplit_once('*') {
            Some((what, count)) => Token::Bytes(unescape(what).repeat(count.parse().expect("a count"))),
            None => Token::Number(inner.to_string()),
        });
        rest = behind;
    }
    tokens.push(Token::Bytes(unescape(rest)));
    Template(tokens)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next() {
            Some('r') => out.push(b'\r'),
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('\\') => out.push(b'\\'),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
            }
            other => panic!("escape {other:?} in {text:?}"),
        }
    }
    out
}
