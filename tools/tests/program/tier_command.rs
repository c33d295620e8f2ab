//! `torc tier`: what it tells of a tier's file, whole and damaged, and what it leaves alone.

use crate::harness::{PATIENCE, Server, finish, stderr_of, torc};
use serde_json::Value;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::file::{Access, FileMedium};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::tier::{OpenError, Run, Tier};

const CONFIG: Config = Config {
    bytes: 2 << 20,
    page_bytes: 4096,
    batch_bytes: 64 << 10,
    streams: 2,
    journal: JournalConfig::NONE,
    has_snapshots: false,
    volume: 0xABC,
    hash_seed: 7,
};
/// Items of each stream.
const ITEMS: u64 = 60;

/// 2026-01-01, as versions tell the time.
fn version(number: u64) -> u64 {
    1_767_225_600_000 << 16 | number
}

/// Bytes that are found in the file at one place alone.
fn hash(stream: u64, number: u64) -> u64 {
    0x0123_4567_89AB_0000 | stream << 8 | number
}

/// An item as the engine encodes it.
fn item(version: u64, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = version.to_le_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend((key.len() as u16).to_le_bytes());
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend([key, value].concat());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

struct File {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn begun(path: &Path, volume: u64) -> (Run, Vec<torc_pmem::stream::StreamWriter>) {
    let medium: Arc<dyn Medium> =
        Arc::new(FileMedium::open(path, CONFIG.bytes, Access::Best).expect("a file"));
    if let Err(OpenError::Refused { .. }) = Tier::open(medium.clone()) {
        Tier::create(&medium, Config { volume, ..CONFIG }).expect("a tier");
    }
    let tier = Tier::open(medium).expect("a tier");
    let ends: Vec<_> =
        (0..2).map(|stream| tier.recover(stream, &mut |_| {}).expect("it is read").0).collect();
    let run = tier.begin().expect("it begins");
    let writers = ends.iter().map(|end| run.writer(end).expect("a writer")).collect();
    (run, writers)
}

/// Waits until nobody has the lock of a file that this process has closed: processes that other tests start at that moment
/// have it until they are themselves.
fn wait_until_free(path: &Path) {
    let file = std::fs::File::open(path).expect("a file");
    let end = Instant::now() + PATIENCE;
    loop {
        // SAFETY: all zeros is a lock record; its fields are integers.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        // SAFETY: it only asks; the descriptor is open, and the record lives through the call.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) }, 0);
        if lock.l_type == libc::F_UNLCK as libc::c_short {
            return;
        }
        assert!(Instant::now() < end, "the file is let go of");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl File {
    /// A tier with items that compress well, each followed by others, and a mark of each kind.
    fn new() -> File {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tier");
        let (run, writers) = begun(&path, CONFIG.volume);
        for (stream, mut writer) in (0..).zip(writers) {
            let record = |number, kind| Record {
                hash: hash(stream, number),
                version: version(number),
                expiry: if number == 5 { 1_900_000_000_000 } else { 0 },
                space: 0,
                slot: (stream * 8192 + number) as u16,
                kind,
            };
            for number in 0..ITEMS {
                let key = format!("key {stream}/{number}\n");
                let value = format!("value {number}, ").repeat(20);
                let bytes = item(version(number), key.as_bytes(), value.as_bytes());
                writer.add(&record(number, Kind::Item), &bytes).expect("it fits");
                if number % 20 == 19 {
                    writer.commit().expect("it is written");
                }
            }
            writer.add(&record(ITEMS, Kind::Tombstone), &[]).expect("it fits");
            writer.add(&Record::flush(Some(3), 10..=20, version(ITEMS + 1)), &[]).expect("it fits");
            writer.close().expect("it is written");
        }
        run.end().expect("it ends");
        wait_until_free(&path);
        File { path, _folder: folder }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("it can be read")
    }

    /// Changes one byte.
    fn rot(&self, at: usize) {
        let mut bytes = self.bytes();
        bytes[at] ^= 0x40;
        std::fs::write(&self.path, bytes).expect("it can be written");
    }

    fn find(&self, wanted: &[u8]) -> usize {
        let bytes = self.bytes();
        bytes.windows(wanted.len()).position(|found| found == wanted).expect("it is there")
    }

    fn tell(&self, arguments: &[&str]) -> Told {
        tell(&self.path, arguments)
    }
}

/// What the program said.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Told {
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }
}

fn tell(path: &Path, arguments: &[&str]) -> Told {
    let output = finish(torc().arg("tier").args(arguments).arg(path));
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), stderr_of(&output));
    assert!(!err.contains("panicked"), "{err}");
    Told { code: output.status.code(), out, err }
}

#[test]
fn a_whole_tier_is_checked_listed_and_described() {
    let file = File::new();
    let before = file.bytes();
    let checked = file.tell(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.out.contains("with 120 items and 8 tables read; 0 pages and 0 tables are damaged"),
        "{checked:?}"
    );

    let listed = file.tell(&["dump", "--json"]).json();
    assert_eq!(listed.len(), 2 * (ITEMS as usize + 2));
    assert_eq!((&listed[0]["kind"], &listed[0]["slots"][1]), (&"flush".into(), &20.into()));
    assert_eq!(listed[1]["kind"], "tombstone");
    let last = &listed[ITEMS as usize + 1];
    assert_eq!((&last["key"], &last["stream"]), (&"key 0/0\\n".into(), &0.into()));
    assert_eq!((&last["version"], &last["changed_ms"]), (&version(0).into(), &1_767_225_600_000_u64.into()));
    assert_eq!((&last["value_bytes"], &last["hash"]), (&180.into(), &"0123456789ab0000".into()));
    let expiring = listed.iter().filter(|record| record["expiry_ms"] == 1_900_000_000_000_u64);
    assert_eq!(expiring.count(), 2);
    let lines = file.tell(&["dump"]).out;
    assert_eq!(lines.lines().count(), listed.len());
    assert!(lines.contains("180 bytes  \"key 1/0\\n\""), "{lines}");

    let stat = &file.tell(&["stat", "--json"]).json()[0];
    assert_eq!((&stat["state"], &stat["volume"]), (&"ended".into(), &"0000000000000abc".into()));
    assert_eq!((&stat["all"]["items"], &stat["streams"][1]["marks"]), (&120.into(), &2.into()));
    assert!(stat["all"]["compression"].as_f64() > Some(3.0), "{stat}");
    assert_eq!(stat["streams"][0]["oldest_change_ms"], 1_767_225_600_000_u64);
    let text = file.tell(&["stat"]).out;
    assert!(text.contains("the last run ended in order") && text.contains("stream 1"), "{text}");
    assert!(file.bytes() == before, "nothing is written");
}

#[test]
fn a_damaged_page_is_named_and_its_items_are_listed_as_lost() {
    let file = File::new();
    let page = file.find(b"TPG1");
    file.rot(page + 100);
    let checked = file.tell(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let words = format!("stream 0: the page's payload is damaged, at byte {page}: its ");
    assert!(checked.out.contains(&words), "{checked:?}");
    assert!(checked.out.contains("; 1 pages and 0 tables are damaged"), "{checked:?}");
    let listed = file.tell(&["dump", "--json"]).json();
    let lost = listed.iter().filter(|record| record["lost"] == "the page's payload is damaged").count();
    assert!((1..ITEMS as usize).contains(&lost), "{lost}");
    assert!(file.tell(&["dump"]).out.contains("  lost: the page's payload is damaged\n"));
}

#[test]
fn a_damaged_table_is_named_with_its_slots() {
    let file = File::new();
    file.rot(file.find(&hash(1, 25).to_le_bytes()));
    let checked = file.tell(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let words = format!(
        "stream 1: a table is damaged, of records of slots 8212 to 8231 up to version {}",
        version(39)
    );
    assert!(checked.out.contains(&words), "{checked:?}");
    assert!(checked.out.contains("0 pages and 1 tables are damaged"), "{checked:?}");
    let listed = file.tell(&["dump", "--json"]).json();
    assert_eq!(listed.iter().filter(|record| record["kind"] == "damage").count(), 1);
    assert_eq!(listed.len(), 2 * (ITEMS as usize + 2) - 20 + 1);
    assert_eq!(file.tell(&["stat", "--json"]).json()[0]["streams"][1]["damaged_tables"], 1);
}

#[test]
fn a_tier_in_use_is_left_alone_by_every_command() {
    let file = File::new();
    let _used = begun(&file.path, CONFIG.volume);
    let before = file.bytes();
    for command in [&["check"][..], &["dump"], &["stat"], &["reset", "--yes"]] {
        let told = file.tell(command);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.err.contains("is used by another process"), "{told:?}");
    }
    assert!(file.bytes() == before);
}

#[test]
fn what_is_no_tier_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other");
    for command in [&["check"][..], &["dump"], &["stat"], &["reset", "--yes"]] {
        let told = tell(&path, command);
        assert_eq!((told.code, path.exists()), (Some(1), false), "{told:?}");
        assert!(told.err.contains("No such file"), "{told:?}");
        for len in [0, 100, 300_000] {
            std::fs::write(&path, vec![b'x'; len]).expect("it can be written");
            let told = tell(&path, command);
            assert_eq!(told.code, Some(1), "{len}: {told:?}");
            assert_eq!(std::fs::read(&path).expect("it can be read"), vec![b'x'; len]);
            std::fs::remove_file(&path).expect("it can be removed");
        }
    }
}

#[test]
fn a_reset_wants_to_be_agreed_to_and_leaves_what_can_be_made_anew() {
    let file = File::new();
    let before = file.bytes();
    let asked = file.tell(&["reset"]);
    assert_eq!((asked.code, file.bytes() == before), (Some(2), true), "{asked:?}");
    assert!(asked.err.contains("to agree, say --yes"), "{asked:?}");
    assert_eq!(file.tell(&["reset", "--yes"]).code, Some(0));
    let told = file.tell(&["check"]);
    assert!(told.code == Some(1) && told.err.contains("it holds nothing yet"), "{told:?}");
    assert_eq!(
        file.tell(&["reset", "--yes"]).out.trim_end(),
        format!("{} holds nothing", file.path.display())
    );
    drop(begun(&file.path, CONFIG.volume + 1));
    wait_until_free(&file.path);
    assert!(file.tell(&["check"]).out.starts_with("0 pages with 0 items"));

    // Superblocks that are damaged are a tier's all the same.
    for block in 0..2 {
        file.rot(block * BLOCK_BYTES + 50);
    }
    assert!(file.tell(&["stat"]).err.contains("both superblocks are damaged"));
    assert_eq!(file.tell(&["reset", "--yes"]).code, Some(0));
}

#[test]
fn a_void_tier_is_described_and_not_believed() {
    let file = File::new();
    let (run, writers) = begun(&file.path, CONFIG.volume);
    drop(writers);
    run.void().expect("it is voided");
    drop(run);
    wait_until_free(&file.path);
    let told = file.tell(&["stat"]);
    assert!(told.code == Some(0) && told.out.contains("void: its medium had failed"), "{told:?}");
    let told = file.tell(&["dump"]);
    assert!(told.code == Some(1) && told.err.contains("voided"), "{told:?}");
}

#[test]
fn whatever_the_bytes_are_every_command_comes_to_its_end() {
    let file = File::new();
    let whole = file.bytes();
    // Multiplied by this, numbers spread over the file; most of them meet what is written, at the start of each stream.
    const SPREAD: usize = 7919;
    for number in 0..40 {
        let mut bytes = whole.clone();
        for damage in 0..number {
            let stream = damage % 2 * (1 << 20);
            let at = stream + (number * 40 + damage) * SPREAD % (60 << 10);
            bytes[at] ^= number as u8;
        }
        if number % 4 == 3 {
            bytes.truncate(number * 41 * 1024);
        }
        std::fs::write(&file.path, bytes).expect("it can be written");
        for command in ["check", "dump", "stat"] {
            let told = file.tell(&[command]);
            assert!(matches!(told.code, Some(0 | 1)), "{number} {command}: {told:?}");
        }
    }
}

#[test]
fn what_a_server_has_written_is_listed_by_its_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tier");
    let argument = format!("--tier={}", path.display());
    let mut server = Server::start(&[&argument, "--tier-size=64m"]);
    let mut client = server.connect();
    client.ask(b"*3\r\n$3\r\nSET\r\n$3\r\nk\xff1\r\n$5\r\nvalue\r\n", b"+OK\r\n");
    client.ask(b"*5\r\n$3\r\nSET\r\n$4\r\nkey2\r\n$2\r\nv2\r\n$2\r\nEX\r\n$4\r\n1000\r\n", b"+OK\r\n");
    let told = tell(&path, &["check"]);
    assert!(told.code == Some(1) && told.err.contains("is used by another process"), "{told:?}");
    server.signal(libc::SIGTERM);
    assert!(server.wait().0.success());
    assert_eq!(tell(&path, &["check"]).code, Some(0));
    let listed = tell(&path, &["dump", "--json"]).json();
    let of = |key: &str| listed.iter().find(|record| record["key"] == key).expect("it is listed");
    assert_eq!((&of("k\\xff1")["kind"], &of("k\\xff1")["value_bytes"]), (&"item".into(), &5.into()));
    assert!(of("key2")["expiry_ms"].as_u64() > of("key2")["changed_ms"].as_u64(), "{listed:?}");
    assert_eq!(tell(&path, &["reset", "--yes"]).code, Some(0));
    let server = Server::start(&[&argument]);
    server.connect().ask(b"*2\r\n$3\r\nGET\r\n$4\r\nkey2\r\n", b"$-1\r\n");
}
