//! Where a server that was reached in another way shares its memory ([N-SHM-8]).

use std::io::{self, Read, Write};
use std::path::PathBuf;
use torc_proto::native::attach::FEATURE_SHARED_MEMORY;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, FrameLimits, Hello, HelloAnswer, Op, Options, ParseError, Status, VERSION};

/// Longest answer to a hello that is read.
const ANSWER_BYTES_MAX: u32 = 64 << 10;

/// Says hello on a new connection, and hears where the server's memory is shared: the path of a Unix socket, which may lie on another
/// machine, and the boot id of the server that is to be found there.
///
/// # Errors
/// The stream's own, or `InvalidData` if what answers is no Torc.
pub fn find(stream: &mut (impl Read + Write)) -> io::Result<Option<(PathBuf, u64)>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (mut request, mut value) = (Vec::new(), Vec::new());
    let hello = Hello {
        version_min: VERSION,
        version_max: VERSION,
        features: FEATURE_SHARED_MEMORY,
        session: 0,
        boot_id: 0,
    };
    hello.compose(&mut value);
    compose_request(&mut request, Op::Hello, 0, 1, &Options::NONE, b"", &value)
        .map_err(|wrong| invalid(&wrong.to_string()))?;
    stream.write_all(&request)?;
    let mut bytes = Vec::new();
    loop {
        match Answer::parse(&bytes, &FrameLimits { value_bytes_max: ANSWER_BYTES_MAX }) {
            Ok((answer, _)) if answer.header.status() == Status::Ok => {
                let hello = HelloAnswer::parse(answer.value).map_err(|wrong| invalid(&wrong.to_string()))?;
                let path = HelloAnswer::shared_memory_path(answer.value).map(PathBuf::from);
                return Ok(path.map(|path| (path, hello.boot_id)));
            }
            Ok(_) => return Err(invalid("the server refused the hello")),
            Err(ParseError::Incomplete { missing }) => {
                let before = bytes.len();
                bytes.resize(before + missing, 0);
                stream.read_exact(&mut bytes[before..])?;
            }
            Err(ParseError::Invalid(wrong)) => return Err(invalid(&wrong.to_string())),
        }
    }
}
