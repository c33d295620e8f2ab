//! `torc doctor`: what this machine offers the server, what follows from it, and how to get what is missing.

mod checks;
mod rdma;
mod uring;

use crate::args::DoctorArgs;
use crate::exit::{self, Failure};
use crate::machine::Machine;
use checks::{Check, State};
use serde_json::json;

pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let checks = checks::all(&Machine::here(), &uring::try_all(), &torc_verbs::survey::here());
    exit::print(&if args.json { as_json(&checks) } else { as_text(&checks) })
}

fn as_text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let mark = match check.state {
            State::Found => "ok",
            State::Limited => "warn",
            State::Missing => "no",
        };
        text.push_str(&format!("{mark:<5} {:<width$}  {}\n", check.name, check.found));
        if check.state == State::Found {
            continue;
        }
        for (label, words) in [("so", &check.follows), ("cure", &check.cure)] {
            if !words.is_empty() {
                text.push_str(&format!("{:<5} {:<width$}  {label}: {words}\n", "", ""));
            }
        }
    }
    let missing = checks.iter().filter(|check| check.state != State::Found).count();
    text.push_str(&match missing {
        0 => "\nEverything that Torc can use is here.\n".to_owned(),
        _ => format!("\n{} of {} are as good as can be.\n", checks.len() - missing, checks.len()),
    });
    text
}

fn as_json(checks: &[Check]) -> String {
    let checks: Vec<_> = checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "state": check.state.word(),
                "found": check.found,
                "follows": check.follows,
                "cure": check.cure,
            })
        })
        .collect();
    format!("{}\n", json!({ "version": env!("CARGO_PKG_VERSION"), "checks": checks }))
}
