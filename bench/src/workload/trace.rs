//! Request traces: one request a line, `key,size` (bytes) after a header line, plain or gzip.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use crate::error::BenchError;

/// Most requests read from one trace: a bound on memory (12 bytes a request and more an object).
pub const TRACE_REQUESTS_MAX: usize = 200_000_000;

/// A trace with its keys replaced by dense object numbers in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Object number of each request.
    pub objects: Vec<u32>,
    /// Size of each request in the trace, bytes.
    pub sizes: Vec<u32>,
    /// How many distinct objects there are.
    pub distinct: u32,
}

impl Trace {
    /// Reads a file; one whose first bytes are gzip's is unpacked.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let action = || format!("reading the trace {}", path.display());
        let mut file = BufReader::new(File::open(path).map_err(BenchError::io(action()))?);
        let start = file.fill_buf().map_err(BenchError::io(action()))?;
        let zipped = start.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn Read> = match zipped {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        Self::parse(BufReader::new(reader)).map_err(BenchError::io(action()))
    }

    /// Parses the text form. The first line is a header if its second field is no number.
    pub fn parse(reader: impl BufRead) -> io::Result<Self> {
        let mut trace = Self::default();
        let mut numbers: HashMap<String, u32> = HashMap::new();
        for (at, line) in reader.lines().enumerate() {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let fields = line.split_once(',').and_then(|(key, size)| {
                let size = size.split(',').next().unwrap_or(size).trim();
                Some((key, size.parse::<u32>().ok()?))
            });
            let Some((key, size)) = fields else {
                if at == 0 {
                    continue;
                }
                return Err(bad(at, "expected key,size"));
            };
            if trace.objects.len() >= TRACE_REQUESTS_MAX {
                return Err(bad(at, "the trace is longer than this program reads"));
            }
            let next = numbers.len() as u32;
            let object = match numbers.get(key) {
                Some(&object) => object,
                None => *numbers.entry(key.to_owned()).or_insert(next),
            };
            trace.objects.push(object);
            trace.sizes.push(size);
        }
        trace.distinct = numbers.len() as u32;
        if trace.objects.is_empty() {
            return Err(bad(0, "no request in it"));
        }
        Ok(trace)
    }
}

fn bad(line: usize, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {what}", line + 1))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn numbers_objects_in_order_of_appearance() {
        let trace = Trace::parse("key,size\nb,10\na,20\nb,10\n\nc,5\n".as_bytes()).unwrap();
        assert_eq!(trace.objects, [0, 1, 0, 2]);
        assert_eq!(trace.sizes, [10, 20, 10, 5]);
        assert_eq!(trace.distinct, 3);
    }

    #[test]
    fn a_header_is_optional_and_a_bad_line_is_named() {
        assert_eq!(Trace::parse("7,1\n".as_bytes()).unwrap().objects, [0]);
        let error = Trace::parse("key,size\n1,2\nnonsense\n".as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 3"), "{error}");
        assert!(Trace::parse("key,size\n".as_bytes()).is_err());
        assert!(Trace::parse("1,2\n3,99999999999\n".as_bytes()).is_err());
    }

    #[test]
    fn reads_gzip_and_plain_files_alike() {
        let folder = std::env::temp_dir();
        let stem = format!("torc-bench-trace-{}", std::process::id());
        let plain = folder.join(format!("{stem}.csv"));
        let zipped = folder.join(format!("{stem}.csv.gz"));
        let text = b"key,size\n5,1\n6,2\n5,1\n";
        std::fs::write(&plain, text).unwrap();
        let file = File::create(&zipped).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap();
        assert_eq!(Trace::read(&plain).unwrap(), Trace::read(&zipped).unwrap());
        std::fs::remove_file(plain).unwrap();
        std::fs::remove_file(zipped).unwrap();
    }
}
