//! Starts servers, talks to them, and never waits without end.

use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Longer than anything takes on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The program, with no settings from the environment of whoever runs the tests.
pub(crate) fn torc() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torc"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TORC_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// `torc serve` with a small cache on free ports; `arguments` come last and so win.
pub(crate) fn serve(arguments: &[&str]) -> Command {
    let mut command = torc();
    command.args(["serve", "--admin=127.0.0.1:0", "--memory=64m"]);
    for (flag, default) in [("--listen", "127.0.0.1:0"), ("--shards", "1")] {
        if !arguments.iter().any(|argument| argument.starts_with(flag)) {
            command.args([flag, default]);
        }
    }
    command.args(arguments);
    command
}

/// Runs to the end, which must come by itself.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("torc starts");
    let id = child.id();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("torc is waited for"),
        Err(_) => {
            send_signal(id, libc::SIGKILL);
            panic!("torc does not end: {command:?}");
        }
    }
}

pub(crate) fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn send_signal(process: u32, signal: i32) {
    // SAFETY: plain system call without pointers; the process is our child, not yet waited for, so its id is
    // not another's.
    unsafe { libc::kill(process as i32, signal) };
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) ready: Value,
    stderr: Receiver<String>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Server {
        Server::spawn(&mut serve(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("torc starts");
        let stderr = collect(child.stderr.take().expect("piped"));
        let stdout = child.stdout.take().expect("piped");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            sender.send(read.map(|_| line))
        });
        let line = receiver.recv_timeout(PATIENCE).ok().and_then(Result::ok).unwrap_or_default();
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("no ready line but {line:?}; stderr: {}", stderr.recv().unwrap_or_default());
        };
        Server { child, ready, stderr }
    }

    /// Addresses under a key of the ready line, without `tcp://`.
    pub(crate) fn addresses(&self, key: &str) -> Vec<SocketAddr> {
        let list = self.ready[key].as_array().expect("a list of addresses");
        list.iter()
            .filter_map(|address| address.as_str()?.split_once("tcp://"))
            .map(|(_, address)| address.parse().expect("an address"))
            .collect()
    }

    /// The first TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses("listen")[0]
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address()).expect("the server accepts"))
    }

    /// Status and body of a path at the admin address.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        let address =
            self.ready["admin"].as_str().and_then(|url| url.strip_prefix("http://")).expect("admin");
        let mut client = Client::new(TcpStream::connect(address).expect("the admin address accepts"));
        client.send(format!("GET {path} HTTP/1.1\r\nHost: torc\r\nConnection: close\r\n\r\n").as_bytes());
        let answer = String::from_utf8(client.rest()).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// Sum over the samples of a metric whose labels contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        sum_of(&self.metrics(), name, labels)
    }

    /// All that `/metrics` says.
    pub(crate) fn metrics(&self) -> String {
        let (status, body) = self.admin("/metrics");
        assert_eq!(status, 200);
        body
    }

    pub(crate) fn signal(&self, signal: i32) {
        send_signal(self.child.id(), signal);
    }

    /// The reasons for which it has closed clients, and how many; `None`: it does not answer.
    fn closes(&self) -> Option<Vec<String>> {
        let address = self.ready["admin"].as_str()?.strip_prefix("http://")?;
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: torc\r\nConnection: close\r\n\r\n").ok()?;
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).ok()?;
        let closes = metrics.lines().filter_map(|line| line.strip_prefix("torc_connections_closed_total"));
        Some(closes.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect())
    }

    /// Waits for the end: exit status and all that was said on stderr.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("torc is waited for") {
                return (status, self.stderr.recv().unwrap_or_default());
            }
            assert!(Instant::now() < end, "torc does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Of a test that fails, it is told what its server has said and which clients it has closed.
impl Drop for Server {
    fn drop(&mut self) {
        let closes = if std::thread::panicking() { self.closes() } else { None };
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
            eprintln!("the server has closed {closes:?}, and said:\n{stderr}");
        }
    }
}

/// As [`Server::metric`], of metrics that were read before.
pub(crate) fn sum_of(metrics: &str, name: &str, labels: &str) -> f64 {
    let values: Vec<f64> = metrics
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(|line| line.contains(labels))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
        .collect();
    assert!(!values.is_empty(), "no metric {name} with {labels}:\n{metrics}");
    values.iter().sum()
}

/// Reads a pipe until it closes, so that its writer never blocks.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        sender.send(String::from_utf8_lossy(&text).into_owned())
    });
    receiver
}

/// A connection that speaks in bytes.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
}

pub(crate) trait Stream: Read + Write + Send {
    /// Says that nothing more will be sent.
    fn end(&self) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn end(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn end(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Client { stream: Box::new(stream) }
    }

    pub(crate) fn unix(path: &std::path::Path) -> Client {
        let stream = UnixStream::connect(path).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Client { stream: Box::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next bytes, which must be these.
    pub(crate) fn expect(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        let mut filled = 0;
        while filled < got.len() {
            match self.stream.read(&mut got[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&got[..filled])),
            }
        }
        let (got, expected) = (String::from_utf8_lossy(&got[..filled]), String::from_utf8_lossy(expected));
        assert_eq!(got, expected);
    }

    pub(crate) fn ask(&mut self, request: &[u8], answer: &[u8]) {
        self.send(request);
        self.expect(answer);
    }

    /// One read; an end or a broken connection is none.
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return bytes[..read.unwrap_or(0)].to_vec(),
            }
        }
    }

    /// Says that nothing more will be sent; then everything until the server closes.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        // It may have closed already.
        let _ = self.stream.end();
        self.rest()
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset after the last byte is an end, too.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// Whether the other side still answers.
    pub(crate) fn try_ping(&mut self) -> bool {
        self.stream.write_all(b"*1\r\n$4\r\nPING\r\n").is_ok() && self.read_some() == b"+PONG\r\n"
    }
}
