//! What the documents say is there.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tools/ lies in the repository").to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/");
    let pages = docs.map(|entry| entry.expect("an entry").path());
    pages
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .chain([root().join("README.md")])
        .collect()
}

#[test]
fn links_between_documents_and_files_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let path = target.split('#').next().unwrap_or_default();
            let there = document.parent().expect("a folder").join(path);
            assert!(path.is_empty() || there.exists(), "{}: {target}", document.display());
        }
    }
}

#[test]
fn every_kept_run_is_linked_by_a_page() {
    let pages: String = documents().iter().map(|page| read(page)).collect();
    let results = std::fs::read_dir(root().join("bench/results")).expect("bench/results/");
    let runs = results.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    for run in runs {
        let name = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(pages.contains(&format!("bench/results/{name}/")), "no page links {name}");
    }
}

#[test]
fn every_setting_and_its_default_is_documented() {
    let operating = read(&root().join("docs/operating.md"));
    let output = crate::harness::finish(crate::harness::torc().args(["serve", "--help"]));
    let help = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    let settings: Vec<&str> = help.split(" --").skip(1).filter(|text| text.contains("[default: ")).collect();
    assert!(settings.len() > 15, "{help}");
    for setting in settings {
        let name = setting.split([' ', '[']).next().unwrap_or_default();
        let default =
            setting.split("[default: ").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
        assert!(operating.contains(&format!("| `--{name}` | `{default}` |")), "--{name} with {default}");
    }
}

#[test]
fn every_metric_is_documented() {
    let operating = read(&root().join("docs/operating.md"));
    let (_, metrics) = crate::harness::Server::start(&[]).admin("/metrics");
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        assert!(operating.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// Without a device none of them is in the figures.
#[test]
fn every_event_of_an_rdma_device_is_documented() {
    let operating = read(&root().join("docs/operating.md"));
    for event in torc_net::rdma::DEVICE_EVENTS {
        assert!(operating.contains(&format!("`{event}`")), "{event}");
    }
    assert!(operating.contains("| `torc_rdma_device_events_total` | counter |"));
}

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let readme = read(&root().join("README.md"));
    let shown =
        readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let example = read(&root().join("net/client/examples/hello.rs"));
    let example: String =
        example.lines().filter(|line| !line.starts_with("//!")).map(|line| format!("{line}\n")).collect();
    assert_eq!(shown, example);
}
