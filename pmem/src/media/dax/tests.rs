use super::super::file::tests::Scratch;
use super::super::{bytes, bytes_mut, zeroed};
use super::*;
use crate::format::record::{Kind, Record};
use crate::format::superblock::{Config, JournalConfig};
use crate::stream::{Miss, WriteError};
use crate::tier::{OpenError, Tier};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

#[test]
fn a_file_on_a_disk_is_refused_with_the_cure_and_left_as_it_was() {
    let path = Scratch::new();
    match Dax::open(path.path(), 1 << 20) {
        Err(error @ MediaError::NotDax { .. }) => {
            let message = error.to_string();
            assert!(message.contains("-o dax") || message.contains("MAP_SYNC"), "{message}");
        }
        Ok(_) => eprintln!("skipped: the folder for temporary files is in persistent memory"),
        Err(error) => panic!("{error}"),
    }
    FileMedium::open(path.path(), 1 << 20, Access::Best).unwrap();
}

/// All of it but `MAP_SYNC`, on a file of any file system.
#[test]
fn what_is_written_by_each_way_of_writing_back_is_read_and_is_in_the_file() {
    for write_back in WriteBack::all_of_this_cpu() {
        let path = Scratch::new();
        let (mut medium, _mapper) = mapped(&path, 1 << 20);
        medium.write_back = write_back;
        let mut blocks = zeroed(3);
        bytes_mut(&mut blocks).iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8 ^ 0x5A);
        medium.write(8192, &blocks).unwrap();
        medium.drain().unwrap();
        let mut out = zeroed(3);
        medium.read(8192, &mut out).unwrap();
        assert_eq!(bytes(&out), bytes(&blocks));
        assert!(matches!(medium.write((1 << 20) - 8192, &blocks), Err(MediaError::Outside { .. })));
        assert_eq!(std::fs::read(path.path()).unwrap()[8192..8192 + 3 * 4096], *bytes(&blocks));
    }
}

/// Maps a file of any file system. Without `MAP_SYNC` what is drained may be lost by the machine, and everything else is
/// as it is in persistent memory.
fn map(path: &Scratch, bytes: u64) -> Result<Dax, MediaError> {
    Dax::map(FileMedium::open(path.path(), bytes, Access::Buffered).unwrap(), libc::MAP_SHARED)
}

/// Those who map are many, or one that maps all that can be.
static MAPPERS: RwLock<()> = RwLock::new(());

fn mapped(path: &Scratch, bytes: u64) -> (Dax, RwLockReadGuard<'static, ()>) {
    let guard = MAPPERS.read().unwrap_or_else(PoisonError::into_inner);
    (map(path, bytes).unwrap(), guard)
}

fn cut(path: &Scratch, bytes: u64) {
    std::fs::OpenOptions::new().write(true).open(path.path()).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_file_that_is_cut_is_found_by_whichever_access_comes_first() {
    let shrunk = |result: Result<(), MediaError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, MediaError::Shrunk { found: 8192, wanted: 0x10_0000, .. }), "{error}");
    };
    for first in 0..3 {
        let path = Scratch::new();
        let (medium, _mapper) = mapped(&path, 1 << 20);
        let mut blocks = zeroed(2);
        bytes_mut(&mut blocks).fill(9);
        medium.write(4096, &blocks).unwrap();
        cut(&path, 8192);
        match first {
            0 => shrunk(medium.read(4096, &mut zeroed(2))),
            1 => shrunk(medium.write(4096, &blocks)),
            _ => shrunk(medium.drain()),
        }
        if first < 2 {
            // It is what it is from then on, though this place is there.
            shrunk(medium.read(0, &mut zeroed(1)));
        }
        shrunk(medium.write(512 << 10, &blocks));
        shrunk(medium.drain());
        assert_eq!(std::fs::metadata(path.path()).unwrap().len(), 8192);
    }
}

#[test]
fn a_place_that_was_gone_for_a_moment_is_named_and_nothing_is_taken_any_more() {
    let path = Scratch::new();
    let (medium, _mapper) = mapped(&path, 1 << 20);
    medium.write(0, &zeroed(4)).unwrap();
    cut(&path, 4096);
    // SAFETY: a byte of the mapping, which is accessed by atomics alone.
    let byte = unsafe { (*medium.at(8200).cast::<AtomicU64>()).load(Ordering::Relaxed) };
    assert_eq!(byte, 0, "zeros lie there now");
    cut(&path, 1 << 20);
    for refused in [medium.read(0, &mut zeroed(1)), medium.write(0, &zeroed(1)), medium.drain()] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, MediaError::Fault { at: 8200, .. }), "{refused}");
    }
    drop(medium);
    map(&path, 1 << 20).unwrap().read(8192, &mut zeroed(1)).unwrap();
}

/// Threads that read and write meet faults of the same pages at the same time.
#[test]
fn many_threads_meet_the_cut_and_all_go_on() {
    let path = Scratch::new();
    let (medium, _mapper) = mapped(&path, 4 << 20);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let medium = &medium;
            scope.spawn(move || {
                let ends = (0..).find_map(|round: u64| {
                    let at = (round * 7 + thread) % 1000 * 4096;
                    let written = if thread % 2 == 0 { medium.write(at, &zeroed(3)) } else { Ok(()) };
                    written.and_then(|()| medium.read(at, &mut zeroed(3))).err()
                });
                assert!(matches!(ends, Some(MediaError::Shrunk { .. })), "{ends:?}");
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        cut(&path, 4096);
    });
}

#[test]
fn more_mappings_than_can_be_watched_are_refused_and_places_come_back() {
    let paths: Vec<Scratch> = (0..=fault::WATCHED_MAX).map(|_| Scratch::new()).collect();
    let _alone = MAPPERS.write().unwrap_or_else(PoisonError::into_inner);
    let (open, refused): (Vec<_>, Vec<_>) = paths.iter().map(|path| map(path, 4096)).partition(Result::is_ok);
    assert_eq!(refused.len(), 1);
    let refused = refused.into_iter().find_map(Result::err).unwrap().to_string();
    assert!(refused.contains("too many files are mapped"), "{refused}");
    drop(open);
    map(&paths[0], 4096).unwrap();
}

#[test]
fn a_tier_whose_file_is_cut_misses_and_latches_and_cannot_even_be_voided() {
    let path = Scratch::new();
    let config = Config {
        bytes: 2 << 20,
        page_bytes: 4096,
        batch_bytes: 16 << 10,
        streams: 1,
        journal: JournalConfig::NONE,
        has_snapshots: false,
        volume: 1,
        hash_seed: 0,
    };
    let (medium, _mapper) = mapped(&path, config.bytes);
    let medium: Arc<dyn Medium> = Arc::new(medium);
    Tier::create(&medium, config).unwrap();
    let tier = Tier::open(medium.clone()).unwrap();
    let (end, _) = tier.recover(0, &mut |_| {}).unwrap();
    let run = tier.begin().unwrap();
    let mut writer = run.writer(&end).unwrap();
    let record = Record { hash: 1, version: 1, expiry: 0, space: 0, slot: 0, kind: Kind::Item };
    let place = writer.add(&record, &[7; 100]).unwrap().unwrap();
    writer.commit().unwrap();
    let mut reader = run.tier().reader();
    assert_eq!(reader.read(place).unwrap(), [7; 100]);
    cut(&path, 4096);
    assert!(matches!(reader.read(place), Err(Miss::Media(MediaError::Shrunk { .. }))));
    writer.add(&record, &[8; 100]).unwrap();
    assert!(matches!(writer.commit(), Err(WriteError::Media(MediaError::Shrunk { .. }))));
    assert!(matches!(writer.commit(), Err(WriteError::Latched)));
    assert!(matches!(run.void(), Err(MediaError::Shrunk { .. })));
    assert!(matches!(Tier::open(medium), Err(OpenError::Media(MediaError::Shrunk { .. }))));
}

#[test]
fn a_fault_that_is_not_ours_ends_the_process_as_it_did_before() {
    for which in ["media::dax::tests::a_fault_elsewhere", "media::dax::tests::a_signal_from_elsewhere"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", which]).stdout(Stdio::null()).stderr(Stdio::null());
        let none = Scratch::none();
        let mut child = command.spawn().unwrap();
        drop(none);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{which}: {status}");
    }
}

#[test]
#[ignore = "ends its process; run by another test"]
fn a_fault_elsewhere() {
    let (path, other) = (Scratch::new(), Scratch::new());
    let (_medium, _mapper) = mapped(&path, 1 << 20);
    // Nothing is dropped when the process ends so.
    drop(path);
    std::fs::write(other.path(), [1]).unwrap();
    let file = std::fs::File::open(other.path()).unwrap();
    // SAFETY: nobody else has the file.
    let map = unsafe { memmap2::MmapOptions::new().len(8192).map(&file) }.unwrap();
    drop(other);
    let byte = std::hint::black_box(&map)[4096];
    panic!("{byte} is read where the file is not");
}

#[test]
#[ignore = "ends its process; run by another test"]
fn a_signal_from_elsewhere() {
    let path = Scratch::new();
    let (_medium, _mapper) = mapped(&path, 1 << 20);
    // Nothing is dropped when the process ends so.
    drop(path);
    // The first handler, which is the standard library's, only puts the default back.
    for _ in 0..2 {
        // SAFETY: a system call.
        unsafe { libc::raise(libc::SIGBUS) };
    }
    panic!("it goes on");
}
