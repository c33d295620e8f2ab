use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::*;

/// A path of this process' own that is removed at the end.
pub(crate) struct Scratch(PathBuf);

/// How many there are.
static SCRATCHES: Mutex<usize> = Mutex::new(0);
static DROPPED: Condvar = Condvar::new();

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        *SCRATCHES.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let name = format!("torc-file-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Scratch(std::env::temp_dir().join(name))
    }

    /// While this is held there is none. For whoever starts a process, which for a moment holds the locks of all files.
    pub(crate) fn none() -> MutexGuard<'static, usize> {
        let scratches = SCRATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        DROPPED.wait_while(scratches, |scratches| *scratches > 0).unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, bytes: u64) -> Result<FileMedium, MediaError> {
        FileMedium::open(&self.0, bytes, Access::Best)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        *SCRATCHES.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        DROPPED.notify_all();
    }
}

fn filled(byte: u8, blocks: usize) -> Vec<Block> {
    let mut blocks = zeroed(blocks);
    bytes_mut(&mut blocks).fill(byte);
    blocks
}

#[test]
fn what_is_drained_is_there_when_the_file_is_opened_again_either_way() {
    for access in [Access::Best, Access::Buffered] {
        let path = Scratch::new();
        let medium = FileMedium::open(&path.0, 3 << 20, access).unwrap();
        medium.write(8192, &filled(7, 2)).unwrap();
        medium.drain().unwrap();
        assert!(medium.describe().contains(if medium.is_direct() { "direct I/O)" } else { "buffered" }));
        drop(medium);
        let medium = FileMedium::open(&path.0, 3 << 20, access).unwrap();
        let mut out = zeroed(4);
        medium.read(4096, &mut out).unwrap();
        assert_eq!(
            (bytes(&out)[4095], bytes(&out)[4096], bytes(&out)[12287], bytes(&out)[12288]),
            (0, 7, 7, 0)
        );
        assert_eq!(std::fs::metadata(&path.0).unwrap().len(), 3 << 20);
    }
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_closed() {
    let path = Scratch::new();
    let first = path.open(1 << 20).unwrap();
    assert!(matches!(path.open(1 << 20), Err(MediaError::Locked { .. })));
    drop(first);
    path.open(1 << 20).unwrap();
}

#[test]
fn a_file_of_another_size_is_refused_and_left_alone() {
    let path = Scratch::new();
    let medium = path.open(1 << 20).unwrap();
    medium.write(0, &filled(1, 1)).unwrap();
    drop(medium);
    for wanted in [512 << 10, 2 << 20, 0, (1 << 20) + 5] {
        let refused = path.open(wanted);
        assert!(matches!(refused, Err(MediaError::Size { found: 0x10_0000, .. })), "{refused:?}");
    }
    assert_eq!(std::fs::metadata(&path.0).unwrap().len(), 1 << 20);
}

#[test]
fn a_file_whose_making_was_interrupted_is_made_to_the_end() {
    let path = Scratch::new();
    std::fs::write(&path.0, vec![0; 300_000]).unwrap();
    assert_eq!(path.open(1 << 20).unwrap().bytes(), 1 << 20);
    assert_eq!(std::fs::metadata(&path.0).unwrap().len(), 1 << 20);
}

#[test]
fn a_full_disk_is_found_at_the_start_and_nothing_is_kept() {
    let path = Scratch::new();
    let refused = path.open(1 << 50);
    assert!(matches!(refused, Err(MediaError::Full { .. })), "{refused:?}");
    assert_eq!(std::fs::metadata(&path.0).unwrap().len(), 0);
}

#[test]
fn a_file_that_shrinks_is_found_by_reads_writes_and_drains() {
    let path = Scratch::new();
    let medium = path.open(1 << 20).unwrap();
    OpenOptions::new().write(true).open(&path.0).unwrap().set_len(4096).unwrap();
    let shrunk =
        |result: Result<(), MediaError>| matches!(result, Err(MediaError::Shrunk { found: 4096, .. }));
    assert!(shrunk(medium.read(512 << 10, &mut zeroed(1))));
    assert!(shrunk(medium.write(512 << 10, &zeroed(1))));
    assert!(shrunk(medium.drain()));
    assert_eq!(std::fs::metadata(&path.0).unwrap().len(), 4096);
}

#[test]
fn what_is_no_file_is_refused() {
    assert!(matches!(
        FileMedium::open(&std::env::temp_dir(), 1 << 20, Access::Best),
        Err(MediaError::Open { .. })
    ));
    let refused = FileMedium::open(Path::new("/dev/null"), 1 << 20, Access::Best);
    assert!(matches!(refused, Err(MediaError::NotAFile { .. })), "{refused:?}");
}

#[test]
fn a_file_that_may_only_be_read_is_refused_with_the_kernels_words() {
    use std::os::unix::fs::PermissionsExt;
    let path = Scratch::new();
    std::fs::write(&path.0, vec![0; 1 << 20]).unwrap();
    std::fs::set_permissions(&path.0, std::fs::Permissions::from_mode(0o444)).unwrap();
    // Root may write everything, so this thread alone gives that up.
    let refused = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: it changes by whose rights this thread opens files, which ends with the next line.
                unsafe { libc::setfsuid(65_534) };
                path.open(1 << 20)
            })
            .join()
            .unwrap()
    });
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("Permission denied"), "{message}");
}

#[test]
fn what_is_there_is_opened_at_its_size_and_nothing_is_made() {
    let path = Scratch::new();
    let missing = FileMedium::open_existing(&path.0).unwrap_err();
    assert!(matches!(missing, MediaError::Open { .. }) && !path.0.exists(), "{missing}");
    let made = path.open(1 << 20).unwrap();
    assert!(matches!(FileMedium::open_existing(&path.0), Err(MediaError::Locked { .. })));
    made.write(4096, &filled(3, 1)).unwrap();
    drop(made);
    OpenOptions::new().write(true).open(&path.0).unwrap().set_len((1 << 20) - 100).unwrap();
    let medium = FileMedium::open_existing(&path.0).unwrap();
    assert_eq!(medium.bytes(), (1 << 20) - 4096);
    let mut out = zeroed(1);
    medium.read(4096, &mut out).unwrap();
    assert_eq!(bytes(&out)[0], 3);
    drop(medium);
    assert_eq!(std::fs::metadata(&path.0).unwrap().len(), (1 << 20) - 100);
}

#[test]
fn a_file_that_another_has_taken_the_name_of_is_not_used() {
    let (path, other) = (Scratch::new(), Scratch::new());
    drop((path.open(1 << 20).unwrap(), other.open(2 << 20).unwrap()));
    let (file, is_direct) = open_best(&path.0, 0).unwrap();
    let late = FileMedium { file, path: path.0.clone(), bytes: 0, is_direct };
    // Whoever has the lock resizes the file between its opening and its locking by the late one.
    std::fs::rename(&other.0, &path.0).unwrap();
    assert!(matches!(late.claim(), Err(MediaError::Replaced { .. })));
    path.open(2 << 20).unwrap();
}

#[test]
fn an_emptied_file_is_made_anew_in_any_size() {
    let path = Scratch::new();
    let medium = path.open(2 << 20).unwrap();
    medium.write(0, &filled(3, 1)).unwrap();
    medium.empty().unwrap();
    let medium = path.open(1 << 20).unwrap();
    let mut out = zeroed(1);
    medium.read(0, &mut out).unwrap();
    assert_eq!((bytes(&out)[0], medium.bytes()), (0, 1 << 20));
}

#[test]
fn a_new_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let path = Scratch::new();
    path.open(1 << 20).unwrap();
    assert_eq!(std::fs::metadata(&path.0).unwrap().permissions().mode() & 0o777, 0o600);
}
