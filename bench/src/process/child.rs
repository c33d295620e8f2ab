//! Server processes that a comparison starts: pinned, bound to this machine, ended with it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::sched_setaffinity,
};

use super::affinity::core_set;
use crate::error::BenchError;

/// How long a server may take until it accepts connections or says that it is ready.
const START_SECONDS: u64 = 30;

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    command: String,
    started: Instant,
    /// The end of what it wrote to stderr.
    words: Arc<Mutex<Vec<u8>>>,
    /// It was told to end.
    ends: bool,
}

/// How much of a server's stderr is kept, bytes.
const WORDS_BYTES_MAX: usize = 4096;

impl ServerProcess {
    /// Starts a server on these cores and waits until it accepts clients: until `accepts` says so.
    pub(crate) fn listening(
        mut command: Command,
        cpus: &[usize],
        accepts: impl Fn() -> bool,
    ) -> Result<Self, BenchError> {
        command.stdout(Stdio::null());
        let mut server = Self::spawn(command, cpus)?;
        let patience = Instant::now() + Duration::from_secs(START_SECONDS);
        while !accepts() {
            server.refuse_ended()?;
            if Instant::now() > patience {
                return Err(server.silent("does not listen"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Starts a server on these cores and returns it with the first line it prints.
    pub(crate) fn with_line(mut command: Command, cpus: &[usize]) -> Result<(Self, String), BenchError> {
        command.stdout(Stdio::piped());
        let mut server = Self::spawn(command, cpus)?;
        let (sender, receiver) = mpsc::channel();
        let stdout = server.child.stdout.take();
        // The thread goes on reading, so that a server that prints more never blocks on a full pipe.
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout?);
            let mut line = String::new();
            reader.by_ref().take(1 << 20).read_line(&mut line).ok()?;
            sender.send(line).ok()?;
            std::io::copy(&mut reader, &mut std::io::sink()).ok()
        });
        match receiver.recv_timeout(Duration::from_secs(START_SECONDS)) {
            Ok(line) if !line.is_empty() => Ok((server, line)),
            _ => {
                server.refuse_ended()?;
                Err(server.silent("prints no ready line"))
            }
        }
    }

    fn spawn(mut command: Command, cpus: &[usize]) -> Result<Self, BenchError> {
        let cores = core_set(cpus)?;
        let prepare = move || {
            // The kernel ends the child when its parent's thread ends.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(sched_setaffinity(None, &cores)?)
        };
        // SAFETY: between fork and exec `prepare` makes two system calls and touches only its own
        // copy of `cores`: no lock, no allocation.
        unsafe { command.pre_exec(prepare) };
        let text = text(&command);
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(BenchError::io(format!("starting {text}")))?;
        let words = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            let words = Arc::clone(&words);
            thread::spawn(move || keep_last_words(stderr, &words));
        }
        Ok(Self { child, command: text, started, words, ends: false })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with a signal, and waits until it is gone.
    ///
    /// # Errors
    /// It does not end soon.
    pub(crate) fn end_by(mut self, signal: Signal) -> Result<(), BenchError> {
        self.ends = true;
        let pid = rustix::process::Pid::from_child(&self.child);
        let sent = rustix::process::kill_process(pid, signal);
        sent.map_err(|error| {
            BenchError::io(format!("ending {}", self.command))(std::io::Error::from(error))
        })?;
        let patience = Instant::now() + Duration::from_secs(START_SECONDS);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > patience {
                return Err(self.silent("does not end"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The command as a shell would take it.
    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    fn refuse_ended(&mut self) -> Result<(), BenchError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.silent(&format!("ended while starting: {status}"))),
            _ => Ok(()),
        }
    }

    /// The end of what it wrote to stderr.
    pub(crate) fn last_words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&words).into_owned()
    }

    fn silent(&self, what: &str) -> BenchError {
        BenchError::Invalid(format!("{} {what}\n{}", self.command, self.last_words().trim_end()))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if !self.ends
            && let Ok(Some(status)) = self.child.try_wait()
        {
            eprintln!("{}", self.silent(&format!("ended by itself: {status}")));
        }
        // Failing means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, so that a server that writes much never blocks, and keeps the last part.
fn keep_last_words(mut stderr: impl Read, words: &Mutex<Vec<u8>>) {
    let mut piece = [0; WORDS_BYTES_MAX];
    while let Ok(bytes @ 1..) = stderr.read(&mut piece) {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend_from_slice(&piece[..bytes]);
        let surplus = words.len().saturating_sub(WORDS_BYTES_MAX);
        words.drain(..surplus);
    }
}

/// A command as a shell would take it.
fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| match word.to_string_lossy() {
        plain if !plain.is_empty() && !plain.contains(char::is_whitespace) => plain.into(),
        odd => format!("'{odd}'"),
    });
    words.collect::<Vec<String>>().join(" ")
}

/// A port of 127.0.0.1 that is free now; for servers that cannot choose and tell one themselves.
pub(crate) fn free_port() -> Result<u16, BenchError> {
    let action = "looking for a free port";
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::io(action))?;
    Ok(listener.local_addr().map_err(BenchError::io(action))?.port())
}

/// The file of this program.
pub(crate) fn this_program() -> Result<PathBuf, BenchError> {
    std::env::current_exe().map_err(BenchError::io("looking for this program's own file"))
}

/// Where `program` is in `PATH`, if installed.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The first line that `program` prints, such as its version.
pub(crate) fn first_line(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        command
    }

    #[test]
    fn a_child_tells_its_line_and_ends_with_its_handle() {
        let cpus = super::super::affinity::allowed().unwrap();
        let shell = command("sh", &["-c", "echo ready; exec sleep 60"]);
        let (server, line) = ServerProcess::with_line(shell, &cpus).unwrap();
        assert_eq!(line, "ready\n");
        let folder = format!("/proc/{}", server.pid());
        assert!(std::path::Path::new(&folder).exists());
        drop(server);
        assert!(!std::path::Path::new(&folder).exists());
    }

    #[test]
    fn a_child_that_ends_at_once_is_named() {
        let cpus = super::super::affinity::allowed().unwrap();
        let error = ServerProcess::listening(command("false", &[]), &cpus, || false).unwrap_err().to_string();
        assert!(error.contains("false ended while starting"), "{error}");
    }

    #[test]
    fn commands_are_shown_as_typed() {
        assert_eq!(text(&command("redis-server", &["--save", ""])), "redis-server --save ''");
    }
}
