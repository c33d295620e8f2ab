//! The native wire vectors as bytes: `net/proto/vectors/native/README.md` has the format.

use std::path::Path;

#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// `request` or `answer`.
    pub(crate) direction: String,
    pub(crate) bytes: Vec<u8>,
}

/// All cases of a file.
pub(crate) fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors/native").join(file);
    let text = std::fs::read_to_string(path).expect("a readable file");
    let of_file = file.trim_end_matches("s.txt");
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "case" {
            cases.push(Case { name: rest.into(), direction: of_file.into(), bytes: Vec::new() });
        }
        let Some(last) = cases.last_mut() else { continue };
        match word {
            "direction" => last.direction = rest.into(),
            "hex" => {
                let digits = rest.split('#').next().unwrap_or("").split_whitespace();
                last.bytes.extend(digits.map(|byte| u8::from_str_radix(byte, 16).expect("two digits")));
            }
            _ => {}
        }
    }
    cases
}
