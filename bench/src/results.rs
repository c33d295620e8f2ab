//! Kept results: a folder a measurement, with `README.md` (setting and tables) and `raw.jsonl`
//! (every figure). A folder is made once and never written again.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    error::BenchError,
    lab::{Cores, contender::Contender},
    process::machine::Machine,
    report::write_json_lines,
};

/// Where results are kept.
#[derive(Args, Clone, Debug)]
pub(crate) struct OutArgs {
    /// Folder to keep the results in; must not exist. Without it, a new one under bench/results
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Under which conditions something was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    pub date: String,
    pub machine: Machine,
    pub command: String,
    pub cores: Cores,
    pub servers: Vec<ServerText>,
}

/// A server as a result names it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerText {
    name: String,
    version: String,
    command: String,
}

impl Setting {
    pub(crate) fn new<'a>(cores: Cores, servers: impl IntoIterator<Item = &'a Contender>) -> Self {
        let text = |server: &Contender| ServerText {
            name: server.name.clone(),
            version: server.version.clone(),
            command: file_name_first(&server.command),
        };
        let command = std::env::args().collect::<Vec<_>>().join(" ");
        Self {
            date: today(),
            machine: Machine::read(),
            command: file_name_first(&command),
            cores,
            servers: servers.into_iter().map(text).collect(),
        }
    }

    /// Where a server stands among all.
    pub(crate) fn place(&self, server: &str) -> Option<usize> {
        self.servers.iter().position(|known| known.name == server)
    }

    /// The head of a page. Writing to a string cannot fail, so its results are dropped.
    pub(crate) fn page(&self, title: &str) -> String {
        let mut page = String::new();
        let machine = &self.machine;
        let _ = writeln!(page, "# {title}, {}\n", self.date);
        let _ = writeln!(
            page,
            "{}, {} cores, {} GiB, Linux {}{}. Server on core {}, generator on core {}.\n",
            machine.cpu,
            machine.cores,
            machine.memory_gib,
            machine.kernel,
            if machine.hypervisor { ", virtual" } else { "" },
            self.cores.server,
            self.cores.generator,
        );
        let _ = writeln!(page, "```\n{}\n```\n", self.command);
        if self.servers.is_empty() {
            return page;
        }
        let _ = writeln!(page, "| server | version | command |\n|---|---|---|");
        for server in &self.servers {
            let ServerText { name, version, command } = server;
            let _ = writeln!(page, "| {name} | {version} | `{command}` |");
        }
        page
    }
}

/// A command without the folder of its program.
fn file_name_first(command: &str) -> String {
    let (program, rest) = command.split_once(' ').unwrap_or((command, ""));
    let name = program.rsplit('/').next().unwrap_or(program);
    format!("{name} {rest}").trim_end().to_owned()
}

/// Where results go by default.
const RESULTS: &str = "bench/results";

/// How many folders of one day, host and topic there may be.
const FOLDERS_A_DAY: u32 = 100;

/// A new folder.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder; one that exists is refused, or gives way to a numbered one when the name
    /// was not chosen.
    pub(crate) fn create(args: &OutArgs, topic: &str) -> Result<Self, BenchError> {
        if let Some(path) = &args.out {
            return match make(path)? {
                true => Ok(Self(path.clone())),
                false => {
                    let reason = format!("{} exists: results are never overwritten", path.display());
                    Err(BenchError::setting("out", reason))
                }
            };
        }
        let stem = format!("{}-{}-{topic}", today(), Machine::read().host);
        for number in 1..=FOLDERS_A_DAY {
            let name = match number {
                1 => stem.clone(),
                number => format!("{stem}-{number}"),
            };
            let path = Path::new(RESULTS).join(name);
            if make(&path)? {
                return Ok(Self(path));
            }
        }
        let reason = format!("{RESULTS} has {FOLDERS_A_DAY} folders of today: give a name");
        Err(BenchError::setting("out", reason))
    }

    /// Writes both files and prints the page.
    pub(crate) fn write(&self, page: &str, raw: &impl Serialize) -> Result<(), BenchError> {
        write_json_lines(&self.0.join("raw.jsonl"), &lines(raw)?)?;
        let path = self.0.join("README.md");
        fs::write(&path, page).map_err(BenchError::io(format!("writing {}", path.display())))?;
        println!("{page}\nkept in {}", self.0.display());
        Ok(())
    }
}

/// A result as the lines of its file: what all measurements share, then a line a measurement, under
/// the name of the list that it comes from.
fn lines(raw: &impl Serialize) -> Result<Vec<Value>, BenchError> {
    let raw = serde_json::to_value(raw).map_err(|error| BenchError::Invalid(error.to_string()))?;
    let Value::Object(fields) = raw else {
        return Ok(vec![raw]);
    };
    let (mut shared, mut measurements) = (Map::new(), Vec::new());
    for (name, value) in fields {
        match value {
            Value::Array(items) => measurements.extend(items.into_iter().map(|item| json!({ &name: item }))),
            value => _ = shared.insert(name, value),
        }
    }
    measurements.insert(0, Value::Object(shared));
    Ok(measurements)
}

/// Today's date, UTC.
fn today() -> String {
    let date = time::OffsetDateTime::now_utc().date();
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// False if it exists.
fn make(path: &Path) -> Result<bool, BenchError> {
    let action = || format!("making the folder {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(BenchError::io(action()))?;
    }
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(BenchError::io(action())(error)),
    }
}

/// Runs that share a key, in the order in which the keys come.
pub(crate) fn groups<'a, T, K: PartialEq>(runs: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<(K, Vec<&'a T>)> {
    let mut groups: Vec<(K, Vec<&T>)> = Vec::new();
    for run in runs {
        let own = key(run);
        match groups.iter_mut().find(|(known, _)| *known == own) {
            Some((_, group)) => group.push(run),
            None => groups.push((own, vec![run])),
        }
    }
    groups
}

/// The median of a figure over runs; not a number if there are none.
pub(crate) fn median_of<T>(runs: &[&T], figure: impl Fn(&T) -> f64) -> f64 {
    median(runs.iter().map(|run| figure(run)).collect()).unwrap_or(f64::NAN)
}

/// The median of numbers in any order.
pub(crate) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        len if len % 2 == 1 => Some(numbers[middle]),
        _ => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once() {
        let path = std::env::temp_dir().join(format!("torc-bench-folder-{}", std::process::id()));
        let args = OutArgs { out: Some(path.clone()) };
        let folder = Folder::create(&args, "x").unwrap();
        folder.write("# page", &json!({ "runs": [{ "at": 1 }, { "at": 2 }], "rounds": 5 })).unwrap();
        assert_eq!(fs::read_to_string(path.join("README.md")).unwrap(), "# page");
        let raw = fs::read_to_string(path.join("raw.jsonl")).unwrap();
        assert_eq!(raw, "{\"rounds\":5}\n{\"runs\":{\"at\":1}}\n{\"runs\":{\"at\":2}}\n");
        let error = Folder::create(&args, "x").unwrap_err().to_string();
        assert!(error.starts_with("--out"), "{error}");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn commands_lose_their_program_s_folder() {
        assert_eq!(file_name_first("/usr/bin/x --y /z"), "x --y /z");
        assert_eq!(file_name_first("x"), "x");
    }

    #[test]
    fn dates_sort() {
        assert_eq!(today().len(), "2026-01-31".len());
    }

    #[test]
    fn groups_keep_the_order_of_their_keys() {
        let groups = groups(&[("b", 1.0), ("a", 2.0), ("b", 3.0)], |run| run.0);
        let medians: Vec<_> = groups.iter().map(|(key, runs)| (*key, median_of(runs, |run| run.1))).collect();
        assert_eq!(medians, [("b", 2.0), ("a", 2.0)]);
    }

    #[test]
    fn medians() {
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 2.0, 1.0, 4.0]), Some(3.0));
    }
}
