//! What a server says about itself: RESP `INFO`, and Torc's `/metrics`.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{codec::length, error::BenchError, generator::address::Address};

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same while a server writes all it has to a disk.
const SAVE_PATIENCE: Duration = Duration::from_secs(600);

/// Items evicted since the server started.
pub(crate) fn evicted(server: &Address) -> Result<u64, BenchError> {
    let text = info(server)?;
    number(&text, "evicted_keys:").ok_or_else(|| BenchError::Invalid("INFO has no line evicted_keys".into()))
}

/// The text of `INFO`.
pub(crate) fn info(server: &Address) -> Result<String, BenchError> {
    let answer = ask(server, "INFO", PATIENCE)?;
    bulk(&answer).ok_or_else(|| BenchError::Invalid(format!("{server} answered INFO with no bulk string")))
}

/// Makes a server forget all items.
pub(crate) fn flush_all(server: &Address) -> Result<(), BenchError> {
    match ask(server, "FLUSHALL", PATIENCE)?.starts_with(b"+OK") {
        true => Ok(()),
        false => Err(BenchError::Invalid(format!("{server} refused FLUSHALL"))),
    }
}

/// Has redis-server write all items to its snapshot.
pub(crate) fn save(server: &Address) -> Result<(), BenchError> {
    match ask(server, "SAVE", SAVE_PATIENCE)?.starts_with(b"+OK") {
        true => Ok(()),
        false => Err(BenchError::Invalid(format!("{server} refused SAVE"))),
    }
}

/// The answer to a RESP command of one word, and to the QUIT behind it.
fn ask(server: &Address, command: &str, patience: Duration) -> Result<Vec<u8>, BenchError> {
    let mut stream = server.connect_blocking()?;
    let mut exchange = || {
        stream.set_read_timeout(Some(patience))?;
        let request = format!("*1\r\n${}\r\n{command}\r\n*1\r\n$4\r\nQUIT\r\n", command.len());
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok::<_, io::Error>(answer)
    };
    exchange().map_err(BenchError::io(format!("asking {server} for {command}")))
}

/// The bulk string at the start of an answer.
fn bulk(answer: &[u8]) -> Option<String> {
    let end = answer.windows(2).position(|two| two == b"\r\n")?;
    let bytes = length(answer[..end].strip_prefix(b"$")?)?;
    let body = answer.get(end + 2..end + 2 + bytes)?;
    Some(String::from_utf8_lossy(body).into_owned())
}

/// The page `/metrics` at `address` (`HOST:PORT`, a scheme before it is skipped).
pub(crate) fn metrics(address: &str) -> Result<String, BenchError> {
    let address = address.strip_prefix("http://").unwrap_or(address);
    let address = address.strip_prefix("tcp://").unwrap_or(address);
    let address = address.trim_end_matches('/');
    let exchange = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok::<_, io::Error>(answer)
    };
    exchange().map_err(BenchError::io(format!("reading http://{address}/metrics")))
}

/// The sum of a metric over its labels.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    labelled(page, name, "")
}

/// The sum of a metric over the lines whose labels have this one (`name="value"`).
pub(crate) fn labelled(page: &str, name: &str, label: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        labels.contains(label).then(|| value.trim().parse::<f64>().ok())?
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// The number behind `name` at the start of a line.
pub(crate) fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_strings_are_cut_out() {
        assert_eq!(bulk(b"$5\r\nhello\r\n+OK\r\n").as_deref(), Some("hello"));
        assert_eq!(bulk(b"$5\r\nhell"), None);
        assert_eq!(bulk(b"-ERR\r\n"), None);
    }

    #[test]
    fn numbers_are_found_by_line() {
        let text = "# Stats\r\nevicted_keys:42\r\nkeys:x\r\n";
        assert_eq!(number(text, "evicted_keys:"), Some(42));
        assert_eq!(number(text, "keys:"), None);
    }

    #[test]
    fn metrics_are_summed_over_labels() {
        let page = "# HELP a x\na{shard=\"0\"} 1\na{shard=\"1\",b=\"} 9\"} 2.5\nab 7\nc 3\n";
        assert_eq!(metric(page, "a"), Some(3.5));
        assert_eq!(metric(page, "c"), Some(3.0));
        assert_eq!(metric(page, "d"), None);
        assert_eq!(labelled(page, "a", "shard=\"1\""), Some(2.5));
    }
}
