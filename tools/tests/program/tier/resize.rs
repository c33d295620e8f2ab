//! A tier in another size: what stays, what goes, and what is left of a resize that was cut off.

use super::redis::Redis;
use super::{count_all, kill, set_all, start, stop, tier_file, wait_until_saved};
use crate::harness::{Server, finish, serve, stderr_of, torc};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const KEYS: usize = 30_000;

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

fn part(path: &Path) -> PathBuf {
    path.with_extension("part")
}

/// A tier of 64m with keys of which some were deleted, that was killed.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = tier_file();
    let server = start(&path, &["--shards=2", "--memory=32m", "--tier-size=64m"]);
    let mut redis = Redis::connect(&server);
    set_all(&mut redis, 0..KEYS);
    wait_until_saved(&server);
    let deleted: Vec<_> = (0..1000).map(|number| vec![b"DEL".to_vec(), super::key(number).into()]).collect();
    redis.ask_all(&deleted);
    wait_until_saved(&server);
    kill(server);
    (folder, path)
}

fn tier(arguments: &[&str], path: &Path) -> std::process::Output {
    finish(torc().arg("tier").args(arguments).arg(path))
}

#[test]
fn a_start_grows_a_tier_and_shrinks_it_and_nothing_that_was_deleted_comes_back() {
    let (_folder, path) = filled();
    let server = start(&path, &["--shards=3", "--memory=64m", "--tier-size=96m"]);
    let mut redis = Redis::connect(&server);
    assert_eq!(count_all(&mut redis, 0..1000), 0, "they were deleted");
    assert_eq!(count_all(&mut redis, 1000..KEYS), KEYS - 1000);
    assert_eq!((size(&path), part(&path).exists()), (96 << 20, false));
    set_all(&mut redis, KEYS..KEYS + 5000);
    let log = stop(server);
    assert!(
        log.contains("is resized from 67108864 bytes to 100663296") && log.contains("had no room"),
        "{log}"
    );

    // Some 17 MB of items do not fit into 8m.
    let server = start(&path, &["--shards=2", "--memory=64m", "--tier-size=8m"]);
    let mut redis = Redis::connect(&server);
    assert_eq!(size(&path), 8 << 20);
    let newest = count_all(&mut redis, KEYS..KEYS + 5000);
    assert_eq!(newest, 5000, "the newest stay");
    let all = count_all(&mut redis, 0..KEYS);
    assert!(all > 2000 && all < KEYS / 2, "{all} of the others");
    assert_eq!(count_all(&mut redis, 0..1000), 0);
    stop(server);
    // Of the same size, nothing is done.
    let server = start(&path, &["--shards=1", "--memory=64m", "--tier-size=8m"]);
    assert_eq!(count_all(&mut Redis::connect(&server), KEYS..KEYS + 5000), 5000);
    assert!(!stop(server).contains("is resized"));
}

#[test]
fn a_resize_that_is_killed_leaves_the_tier_whole() {
    let (_folder, path) = filled();
    let mut cut_off = 0;
    for round in 0..8 {
        let grown = size(&path) != 64 << 20;
        let wanted = if grown { "--tier-size=64m" } else { "--tier-size=80m" };
        let tier = format!("--tier={}", path.display());
        let mut command = serve(&[&tier, wanted, "--memory=64m"]);
        let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = silent.spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(30 * round));
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
        cut_off += u32::from(part(&path).exists());
        let found = size(&path);
        assert!(found == 64 << 20 || found == 80 << 20, "{found}");
        let server = start(&path, &["--memory=64m"]);
        let mut redis = Redis::connect(&server);
        assert_eq!(count_all(&mut redis, 1000..KEYS), KEYS - 1000, "round {round}");
        assert_eq!(count_all(&mut redis, 0..1000), 0, "round {round}");
        kill(server);
    }
    assert!(cut_off > 0, "none was cut off");
    // What the last one has left is no obstacle.
    let output = tier(&["resize", "--size=96m"], &path);
    assert!(output.status.success(), "{}", stderr_of(&output));
    assert_eq!((size(&path), part(&path).exists()), (96 << 20, false));
}

#[test]
fn a_tier_that_there_is_no_room_for_twice_is_left_as_it_is() {
    let (_folder, path) = filled();
    let arguments = [&format!("--tier={}", path.display())[..], "--tier-size=20t", "--memory=64m"];
    let output = finish(&mut serve(&arguments));
    let told = stderr_of(&output);
    assert!(told.contains("cannot be brought to --tier-size") && told.contains("room for both"), "{told}");
    assert_eq!((size(&path), part(&path).exists()), (64 << 20, false));
    let server = Server::start(&[&arguments[..], &["--tier-on-mismatch=reset"]].concat());
    assert_eq!(count_all(&mut Redis::connect(&server), 1000..KEYS), KEYS - 1000);
    assert_eq!(server.metric("torc_tier_bytes", ""), (64 << 20) as f64);
    assert!(stop(server).contains("the tier keeps its size"));
}

#[test]
fn what_cannot_be_used_is_made_anew_in_another_size_if_that_is_asked_for() {
    let (folder, path) = tier_file();
    for content in [vec![b'x'; 100], vec![b'x'; 8 << 20], vec![b'x'; 100 << 20], vec![0; 70 << 20]] {
        std::fs::write(&path, &content).expect("a file");
        let arguments = [&format!("--tier={}", path.display())[..], "--tier-size=64m"];
        if content[0] == b'x' {
            let output = finish(&mut serve(&arguments));
            assert!(stderr_of(&output).contains("--tier-on-mismatch reset"), "{}", stderr_of(&output));
            assert!(std::fs::read(&path).expect("a file") == content, "it was not touched");
        }
        let server = Server::start(&[&arguments[..], &["--tier-on-mismatch=reset"]].concat());
        set_all(&mut Redis::connect(&server), 0..10);
        assert!(stop(server).contains("made anew"));
        assert_eq!(size(&path), 64 << 20);
    }
    // One that was cut, and one that is larger than it says.
    for bytes in [10 << 20, 65 << 20] {
        std::fs::OpenOptions::new().write(true).open(&path).expect("a file").set_len(bytes).expect("cut");
        let tier = format!("--tier={}", path.display());
        let output = finish(&mut serve(&[&tier, "--tier-size=64m"]));
        assert!(stderr_of(&output).contains("it was made for 67108864 bytes"), "{}", stderr_of(&output));
        let server = Server::start(&[&tier, "--tier-size=32m", "--tier-on-mismatch=reset"]);
        stop(server);
        assert_eq!(size(&path), 32 << 20);
        std::fs::remove_file(&path).expect("it can be removed");
        stop(Server::start(&[&tier, "--tier-size=64m"]));
    }
    drop(folder);
}

#[test]
fn the_command_resizes_and_copies_and_leaves_alone_what_is_not_its_own() {
    let (folder, path) = filled();
    let copy = folder.path().join("copy");
    let copied =
        |arguments: &[&str]| tier(&[&["copy"], arguments, &[&path.display().to_string()]].concat(), &copy);
    let before = std::fs::read(&path).expect("a file");
    let output = copied(&["--tier-size=48m", "--streams=5"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("50331648 bytes in 5 streams"), "{output:?}");
    let output = copied(&[]);
    assert!(!output.status.success() && stderr_of(&output).contains("is in the way"), "{output:?}");
    assert!(std::fs::read(&path).expect("a file") == before, "it is only read");
    let server = start(&copy, &["--memory=64m"]);
    assert_eq!(count_all(&mut Redis::connect(&server), 0..KEYS), KEYS - 1000);
    let output = tier(&["resize", "--size=40m"], &copy);
    assert!(stderr_of(&output).contains("used by another process"), "{output:?}");
    kill(server);

    // A file of that name that is none of ours.
    std::fs::write(part(&path), vec![b'x'; 10_000]).expect("a file");
    let output = tier(&["resize", "--size=80m"], &path);
    assert!(stderr_of(&output).contains("tier.part is in the way"), "{output:?}");
    std::fs::remove_file(part(&path)).expect("it can be removed");
    for (size, words) in [("4k", "too few"), ("1000t", "more than places can name"), ("x", "invalid value")] {
        let output = tier(&["resize", &format!("--size={size}")], &path);
        assert!(!output.status.success() && stderr_of(&output).contains(words), "{size}: {output:?}");
    }
    assert!(std::fs::read(&path).expect("a file") == before, "nothing has changed");
    // By a link, the file itself is replaced, and keeps its rights.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let readable = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&path, readable).expect("it is ours");
    let output = tier(&["resize", "--size=80m", "--streams=1"], &link);
    assert!(output.status.success(), "{output:?}");
    assert!(link.is_symlink() && size(&path) == 80 << 20);
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o640);
    assert_eq!(finish(torc().args(["tier", "check"]).arg(&path)).status.code(), Some(0));
}
