//! The specification and the tests of the native protocol hold together: each clause is cited where it is shown, and no
//! citation is of a clause that does not exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where tests and vectors of the native protocol are, from this crate.
const CITING: [&str; 11] = [
    "tests",
    "src/session/native",
    "src/worker",
    "src/transport",
    "src/rdma",
    "rdma",
    "shm",
    "proto/src/native",
    "proto/tests",
    "proto/vectors/native",
    "client",
];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "txt") {
            into.push(path);
        }
    }
}

/// Every `N-WORD-1` in a text.
fn citations(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').filter_map(|word| {
        let (name, number) = word.strip_prefix("N-")?.split_once('-')?;
        let is_clause = !name.is_empty()
            && name.bytes().all(|letter| letter.is_ascii_uppercase())
            && number.parse::<u32>().is_ok();
        is_clause.then(|| word.to_owned())
    })
}

#[test]
fn every_clause_is_shown_and_every_citation_is_a_clause() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let specification = std::fs::read_to_string(root.join("../docs/protocol.md")).expect("the specification");
    let clauses: BTreeSet<_> = specification
        .split("**[")
        .skip(1)
        .filter_map(|rest| citations(rest.split(']').next()?).next())
        .collect();
    assert!(clauses.len() > 50, "the clauses are found");
    let mut paths = Vec::new();
    CITING.iter().for_each(|folder| files(&root.join(folder), &mut paths));
    let mut cited = BTreeSet::new();
    for path in paths {
        cited.extend(citations(&std::fs::read_to_string(path).expect("a readable file")));
    }
    // The example of a clause in `citations`.
    cited.remove("N-WORD-1");
    assert_eq!(clauses.difference(&cited).collect::<Vec<_>>(), Vec::<&String>::new(), "shown by no test");
    assert_eq!(
        cited.difference(&clauses).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not in the specification"
    );
}
