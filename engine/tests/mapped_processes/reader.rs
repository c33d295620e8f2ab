//! Processes that read.

use crate::board::{Board, KEYS, Random, read_value};
use crate::owner::Owner;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use torc_engine::command::{Read, Value};
use torc_engine::mapped::{MapError, MappedClock, MappedShard};
use torc_engine::reader::{Look, Place, ReadRoom};
use torc_pmem::media::shared::{SharedView, bytes_of};

/// What a reader is to do, and the numbers of its descriptors.
const TASK: &str = "TORC_TEST_MAPPED_TASK";
const FILES: &str = "TORC_TEST_MAPPED_FILES";

/// How a process ends whose clock is refused, and one that is in no other time namespace.
const REFUSED: i32 = 77;
const SAME: i32 = 78;

/// Processes that are killed when the test ends, whatever comes of it.
pub(crate) struct Readers {
    children: Vec<Child>,
    next: u64,
}

impl Readers {
    pub(crate) fn start(count: usize, owner: &Owner) -> Readers {
        let mut readers = Readers { children: Vec::new(), next: 0 };
        (0..count).for_each(|_| readers.start_one(owner));
        readers
    }

    fn start_one(&mut self, owner: &Owner) {
        self.next += 1;
        self.children.push(start(&format!("read {}", self.next), owner, |_| {}).unwrap());
    }

    /// Stops a process, and returns which.
    pub(crate) fn stop_one(&mut self) -> usize {
        self.next += 1;
        let number = self.next as usize % self.children.len();
        self.signal(number, libc::SIGSTOP);
        number
    }

    pub(crate) fn go_on(&self, number: usize) {
        self.signal(number, libc::SIGCONT);
    }

    /// Kills a process, and starts another one.
    pub(crate) fn replace_one(&mut self, owner: &Owner) {
        let mut child = self.children.remove(0);
        child.kill().unwrap();
        child.wait().unwrap();
        self.start_one(owner);
    }

    fn signal(&self, number: usize, signal: libc::c_int) {
        // SAFETY: a signal to a process that this one has started and not waited for.
        assert_eq!(unsafe { libc::kill(self.children[number].id() as libc::pid_t, signal) }, 0);
    }

    /// Nobody has seen anything wrong.
    pub(crate) fn check(&mut self) {
        for child in &mut self.children {
            assert_eq!(child.try_wait().unwrap(), None, "a reader has ended");
        }
    }

    pub(crate) fn end(&mut self) {
        for child in &mut self.children {
            assert!(child.wait().unwrap().success(), "a reader has seen what it must not");
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts this program again, with descriptors of shard, clock and board.
fn start(task: &str, owner: &Owner, prepare: impl FnOnce(&mut Command)) -> std::io::Result<Child> {
    let files = owner.files();
    let all = [files[0].as_raw_fd(), files[1].as_raw_fd(), owner.board.file().as_raw_fd()];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["reader_process", "--exact", "--nocapture"]).env(TASK, task);
    command.env(FILES, all.map(|fd| fd.to_string()).join(" ")).stdout(std::process::Stdio::null());
    // SAFETY: between fork and exec only a system call is made: they are inherited.
    unsafe {
        command.pre_exec(move || {
            all.iter().for_each(|&fd| _ = libc::fcntl(fd, libc::F_SETFD, 0));
            Ok(())
        });
    }
    prepare(&mut command);
    command.spawn()
}

/// Lets a process read every byte of the file.
pub(crate) fn walk(owner: &Owner) {
    assert!(start("walk 0", owner, |_| {}).unwrap().wait().unwrap().success());
}

/// Whether a reader in another time namespace is refused; `None` if none can be made.
pub(crate) fn in_another_time_namespace(owner: &Owner) -> Option<bool> {
    let prepare = |command: &mut Command| {
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(|| {
                if libc::unshare(libc::CLONE_NEWTIME) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
    };
    // What is executed is in the namespace that was made for children, but with old kernels.
    let task = format!("clock {}", time_namespace());
    let code = start(&task, owner, prepare).ok()?.wait().unwrap().code();
    if code == Some(SAME) { None } else { Some(code == Some(REFUSED)) }
}

fn time_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/time").map_or(0, |namespace| namespace.ino())
}

/// The task of this process, if it was started as a reader.
pub(crate) fn main() {
    let Ok(task) = std::env::var(TASK) else { return };
    let files = std::env::var(FILES).unwrap();
    let mut files = files.split(' ').map(|fd| {
        let fd: RawFd = fd.parse().unwrap();
        // SAFETY: inherited for this process, which takes each once.
        unsafe { OwnedFd::from_raw_fd(fd) }
    });
    let mut next = || files.next().unwrap();
    let (shard, clock, board) = (next(), next(), next());
    let (task, number) = task.split_once(' ').unwrap();
    let number = number.parse().unwrap();
    match task {
        "walk" => read_every_byte(shard),
        "clock" if number == time_namespace() => std::process::exit(SAME),
        "clock" => {
            let is_refused = matches!(MappedClock::open(clock), Err(MapError::TimeNamespace));
            std::process::exit(if is_refused { REFUSED } else { 0 });
        }
        _ => {
            let shard = MappedShard::open(shard).unwrap();
            let clock = MappedClock::open(clock).unwrap();
            read(&shard, &clock, &Board::open(board), Random(number));
        }
    }
}

fn read_every_byte(file: OwnedFd) {
    let bytes = bytes_of(borrow(&file)).unwrap();
    let view = SharedView::map(file, bytes).unwrap();
    let words = view.words(0, bytes / 8).unwrap();
    let sum = words.iter().fold(0, |sum: u64, word| sum.wrapping_add(word.load(Ordering::Relaxed)));
    assert!(sum > 0);
}

fn borrow(file: &OwnedFd) -> BorrowedFd<'_> {
    use std::os::fd::AsFd;
    file.as_fd()
}

fn read(shard: &MappedShard, clock: &MappedClock, board: &Board, mut random: Random) {
    let mut room = ReadRoom::new();
    let mut places = [None; KEYS as usize];
    let mut before = shard.counts();
    for turn in 1u64.. {
        let key = random.below(KEYS);
        // Half of the reads are first tried where the key was found before.
        let place = &mut places[key as usize];
        let known = place.take().filter(|_| random.below(2) == 0);
        *place = look(shard, clock, board, (key, known), &mut room);
        if turn.is_multiple_of(1000) {
            let counts = shard.counts();
            let doubts = |counts: &torc_engine::mapped::Counts| counts.doubts.iter().sum::<u64>();
            board.tell([
                counts.hits - before.hits,
                counts.misses - before.misses,
                doubts(&counts) - doubts(&before),
            ]);
            before = counts;
            if board.is_stopped() {
                return;
            }
        }
    }
}

fn look(
    shard: &MappedShard,
    clock: &MappedClock,
    board: &Board,
    (key, known): (u64, Option<Place>),
    room: &mut ReadRoom,
) -> Option<Place> {
    let (done, flushes) = (board.done(Some(key)), board.done(None));
    let (shown, owners_now) = (board.shown(key), board.now());
    let now = clock.now();
    assert!(now >= owners_now, "the clock is behind: {now}, it was {owners_now}");
    let name = key.to_le_bytes();
    let read = Read::default();
    let look = match known {
        Some(place) => shard.read_again(&place, (0, &name), &read, now, room),
        None => shard.read((0, &name), shard.hash(&name), &read, now, room),
    };
    let Ok(Look::Hit { found, place, .. }) = look else { return None };
    let Value::Inline(value) = found.value else { panic!("a long value") };
    let value = value.to_vec();
    let [said, change, flushes_before, expiry] =
        read_value(&value).unwrap_or_else(|| panic!("key {key}: a torn value: {value:?}"));
    let begun = board.begun(Some(key));
    assert_eq!(said, key, "another key's value");
    assert!((done..=begun).contains(&change), "key {key}: {change} of {done} to {begun}");
    assert!(change >= shown, "key {key}: {change} after {shown} was seen");
    board.show(key, change);
    assert!(flushes_before >= flushes, "key {key}: a value that was flushed");
    assert!(expiry > now, "key {key}: it had expired at {expiry}, it was {now}");
    Some(place)
}
