//! `torc doctor` tells facts, and tells them to programs, too.

use crate::harness::{finish, stderr_of, torc};

#[test]
fn every_check_has_a_state_and_the_missing_ones_a_consequence() {
    let output = finish(torc().args(["doctor", "--json"]));
    assert!(output.status.success(), "{}", stderr_of(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    for name in
        ["kernel", "io_uring", "multishot receive", "locked memory", "CPUs", "CPU quota", "open files"]
    {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}: {report}");
    }
    assert!(checks.iter().any(|check| check["name"].as_str().is_some_and(|name| name.starts_with("RDMA"))));
    for check in checks {
        let state = check["state"].as_str().expect("a state");
        assert!(["found", "limited", "missing"].contains(&state), "{check}");
        assert!(!check["found"].as_str().expect("words").is_empty(), "{check}");
        assert!(state == "found" || !check["follows"].as_str().expect("words").is_empty(), "{check}");
    }
}

#[test]
fn text_has_a_line_for_each_check() {
    let output = finish(torc().arg("doctor"));
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["kernel", "io_uring", "huge pages", "NUMA"] {
        assert!(text.contains(name), "{name}: {text}");
    }
}
