//! The words of errors: Redis 7.0's own wherever it has some, since clients look at them.

use super::error::Error;
use super::reply_kind::Kind;
use super::subcommands::subcommands;
use crate::session::answer::{Exec, NotFlushed};
use crate::session::walk::NotWalked;
use torc_engine::command::Refusal;
use torc_proto::resp::dump::BadDump;
use torc_proto::resp::request::{self, Arguments};
use torc_proto::resp::{ProtocolError, compose};

/// Steps that one command may spend on matching patterns: some milliseconds. A usual pattern takes two steps for each
/// byte of a key.
pub(crate) const PATTERN_STEPS_MAX: usize = 1 << 20;

/// What an unknown command repeats of its name, and of all its arguments together, bytes.
const REPEATED_BYTES_MAX: usize = 128;

/// Writes an error. `frame` is the request, for those errors that repeat some of it.
pub(super) fn write(error: Error, frame: &[u8], out: &mut Vec<u8>) {
    match error {
        Error::UnknownCommand => compose::error(out, &unknown_command(&words(frame))),
        Error::UnknownSubcommand => {
            let words = words(frame);
            let [command, asked] =
                [0, 1].map(|index| words.get(index).map(Vec::as_slice).unwrap_or_default());
            unknown_subcommand(&String::from_utf8_lossy(command), asked, out);
        }
        Error::ClientType(index) | Error::User(index) => {
            let words = words(frame);
            let name = words.get(index as usize).map(|word| repeated(word)).unwrap_or_default();
            let what = if matches!(error, Error::User(_)) { "No such user" } else { "Unknown client type" };
            compose::error(out, &[b"ERR ", what.as_bytes(), b" '", name, b"'"].concat());
        }
        Error::UnsupportedOption(index) => {
            let words = words(frame);
            let option = words.get(index as usize).map(|word| c_string(word)).unwrap_or_default();
            compose::error(out, &[b"ERR Unsupported option ", option].concat());
        }
        Error::SubcommandSyntax => subcommand_syntax(&words(frame), out),
        Error::AmongMessages(command) => among_messages(command, &words(frame), out),
        Error::PrefixesOverlap(one, other) => {
            let words = words(frame);
            let word = |index: u32| words.get(index as usize).map(Vec::as_slice).unwrap_or_default();
            overlap(repeated(word(one)), repeated(word(other)), "another provided", out);
        }
        Error::WrongArguments(command) => wrong_arguments(command, out),
        Error::FewSources(operation) => {
            let text = format!("ERR BITOP {operation} must be called with at least two source keys.");
            compose::error(out, text.as_bytes());
        }
        Error::InvalidExpire(command) => {
            compose::error(out, format!("ERR invalid expire time in '{command}' command").as_bytes());
        }
        // A byte beyond ASCII goes out as it came in.
        Error::Protocol(ProtocolError::ExpectedBulk { got }) => {
            let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
            text.extend_from_slice(&[got, b'\'']);
            compose::error(out, &text);
        }
        Error::Protocol(error) => compose::error(out, format!("ERR {error}").as_bytes()),
        other => compose::error(out, fixed(other).as_bytes()),
    }
}

pub(super) fn unknown_subcommand(command: &str, asked: &[u8], out: &mut Vec<u8>) {
    let help = format!("'. Try {} HELP.", command.to_uppercase());
    compose::error(out, &[b"ERR unknown subcommand '", repeated(asked), help.as_bytes()].concat());
}

pub(super) fn wrong_arguments(command: &str, out: &mut Vec<u8>) {
    compose::error(out, format!("ERR wrong number of arguments for '{command}' command").as_bytes());
}

fn subcommand_syntax(words: &[Vec<u8>], out: &mut Vec<u8>) {
    let word = |index: usize| words.get(index).map(Vec::as_slice).unwrap_or_default();
    let help = [b"'. Try ", &word(0).to_ascii_uppercase()[..], b" HELP."].concat();
    let what = b"ERR unknown subcommand or wrong number of arguments for '";
    compose::error(out, &[&what[..], repeated(word(1)), &help].concat());
}

fn among_messages(command: &str, words: &[Vec<u8>], out: &mut Vec<u8>) {
    let mut name = command.as_bytes().to_vec();
    if let Some(subcommand) = words.get(1).filter(|_| !subcommands(command).is_empty()) {
        name.push(b'|');
        name.extend_from_slice(&repeated(subcommand).to_ascii_lowercase());
    }
    let before: &[u8] = match command {
        "exec" => b"EXECABORT Transaction discarded because of: Can't execute '",
        _ => b"ERR Can't execute '",
    };
    let rest = b"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    compose::error(out, &[before, &name[..], rest].concat());
}

/// Says which two prefixes overlap; `what` is the second one.
pub(super) fn overlap(new: &[u8], other: &[u8], what: &str, out: &mut Vec<u8>) {
    let text = [
        b"ERR Prefix '",
        new,
        b"' overlaps with ",
        what.as_bytes(),
        b" prefix '",
        other,
        b"'. Prefixes for a single client must not overlap.",
    ];
    compose::error(out, &text.concat());
}

fn fixed(error: Error) -> &'static str {
    match error {
        Error::Syntax => "ERR syntax error",
        Error::KeyCount => "ERR invalid numkeys value",
        Error::PairCount => "ERR wrong number of key-value pairs",
        Error::NotAnInteger => "ERR value is not an integer or out of range",
        Error::NotAFloat => "ERR value is not a valid float",
        Error::NotFinite => "ERR increment would produce NaN or Infinity",
        Error::CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot",
        Error::OffsetOutOfRange => "ERR offset is out of range",
        Error::BitOffset => "ERR bit offset is not an integer or out of range",
        Error::Bit => "ERR bit is not an integer or out of range",
        Error::BitArgument => "ERR The bit argument must be 1 or 0.",
        Error::BitfieldType => {
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
        }
        Error::OverflowType => "ERR Invalid OVERFLOW type specified",
        Error::BitfieldReadOnly => "ERR BITFIELD_RO only supports the GET subcommand",
        Error::SeveralSources => "ERR BITOP NOT must be called with a single source key.",
        Error::CombinedTooLong => "ERR BITOP of a value longer than 16777216 bytes",
        Error::CombinedTooMuch => "ERR BITOP of values that are together longer than 536870912 bytes",
        Error::ComparedTextTooLong => "ERR LCS of a value longer than 32768 bytes",
        Error::LengthAndStretches => "ERR If you want both the length and indexes, please just use IDX.",
        Error::NoFrequency => {
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust."
        }
        Error::ComparedTooLong => "ERR a value with IFEQ must not be longer than --stream-above",
        Error::DecrementOverflow => "ERR decrement would overflow",
        Error::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        Error::KeyTooLong => "ERR key longer than --max-key",
        Error::ValueTooLong => "ERR string exceeds maximum allowed size (--max-value)",
        Error::PairsTooLong => "ERR values together exceed maximum allowed size (--max-value)",
        Error::IncompatibleNx => "ERR NX and XX, GT or LT options at the same time are not compatible",
        Error::IncompatibleGtLt => "ERR GT and LT options at the same time are not compatible",
        Error::InvalidCursor => "ERR invalid cursor",
        Error::NestedMulti => "ERR MULTI calls can not be nested",
        Error::ExecWithoutMulti => "ERR EXEC without MULTI",
        Error::ExecArguments => {
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
        }
        Error::DiscardWithoutMulti => "ERR DISCARD without MULTI",
        Error::WatchInMulti => "ERR WATCH inside MULTI is not allowed",
        Error::SecondRedirect => "ERR A client can only redirect to a single other client",
        Error::NoRedirect => "ERR The client ID you want redirect to does not exist",
        Error::PrefixWithoutBcast => "ERR PREFIX option requires BCAST mode to be enabled",
        Error::OptWithBcast => "ERR OPTIN and OPTOUT are not compatible with BCAST",
        Error::OptInAndOut => "ERR You can't specify both OPTIN mode and OPTOUT mode",
        Error::SwitchesBcast => {
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
        }
        Error::SwitchesOpt => {
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
        }
        Error::TooManyPrefixes => "ERR busy: limit --max-subscriptions reached",
        Error::NotCaching => {
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
        }
        Error::CachingWithoutOptIn => {
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
        }
        Error::CachingWithoutOptOut => {
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."
        }
        Error::SsubscribeInMulti => "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        Error::NotInTransaction => "ERR Command not allowed inside a transaction",
        Error::TransactionTooLong => {
            "ERR queued commands exceed maximum allowed size (--max-value, --max-arguments)"
        }
        Error::Slot => "ERR Invalid slot",
        Error::SlotOrCount => "ERR Invalid slot or number of keys",
        Error::ClientId => "ERR Invalid client ID",
        Error::KilledId => "ERR client-id should be greater than 0",
        Error::BadDump(BadDump::Footer) => "ERR DUMP payload version or checksum are wrong",
        Error::BadDump(BadDump::Format) => "ERR Bad data format",
        Error::BusyKey => "BUSYKEY Target key name already exists.",
        Error::RestoredTtl => "ERR Invalid TTL value, must be >= 0",
        Error::RestoredIdleTime => "ERR Invalid IDLETIME value, must be >= 0",
        Error::RestoredFrequency => "ERR Invalid FREQ value, must be >= 0 and <= 255",
        Error::DumpTooLong => "ERR a value longer than 16777216 bytes cannot be dumped",
        Error::FirstDatabase => "ERR invalid first DB index",
        Error::SecondDatabase => "ERR invalid second DB index",
        Error::NoDatabase => "ERR DB index is out of range",
        Error::NotA32BitNumber => "ERR value is out of range, value must between -2147483648 and 2147483647",
        Error::SameObject => "ERR source and destination objects are the same",
        Error::TooManyScriptKeys => "ERR Number of keys can't be greater than number of args",
        Error::NegativeScriptKeys => "ERR Number of keys can't be negative",
        Error::CopyInCluster => "ERR Copying to another database is not allowed in cluster mode",
        Error::MoveInCluster => "ERR MOVE is not allowed in cluster mode",
        Error::PatternTooLong => "ERR the pattern takes more than 1048576 steps",
        Error::TooManyNames => "ERR more than 1000 names in one command",
        Error::NoAuth => "NOAUTH Authentication required.",
        Error::LockedCount => "ERR Protocol error: unauthenticated multibulk length",
        Error::LockedBulk => "ERR Protocol error: unauthenticated bulk length",
        Error::FrameTooLong => "ERR Protocol error: request longer than --max-frame",
        // Written with their details above.
        Error::UnknownCommand
        | Error::UnknownSubcommand
        | Error::SubcommandSyntax
        | Error::FewSources(_)
        | Error::AmongMessages(_)
        | Error::PrefixesOverlap(..)
        | Error::ClientType(_)
        | Error::User(_)
        | Error::UnsupportedOption(_)
        | Error::WrongArguments(_)
        | Error::InvalidExpire(_)
        | Error::Protocol(_) => "ERR",
    }
}

pub(super) fn not_flushed(why: NotFlushed) -> &'static [u8] {
    match why {
        NotFlushed::Cluster => b"ERR SWAPDB is not allowed in cluster mode",
        NotFlushed::NoSpace => {
            b"ERR databases that were flushed before are still being freed: try again, or FLUSHALL"
        }
        NotFlushed::NotAlone => {
            b"ERR this shard has keys of other databases: FLUSHALL, or FLUSHDB at the common port"
        }
    }
}

pub(super) fn not_run(why: Exec) -> &'static [u8] {
    match why {
        Exec::Aborted => b"EXECABORT Transaction discarded because of previous errors.",
        Exec::TimedOut => {
            b"ERR the transaction did not get its keys in time, and has done nothing: try again"
        }
        Exec::TooManyKeys => b"ERR a transaction of more than 65536 keys",
        Exec::TooManyWatched => b"ERR too many watched keys",
        Exec::Changed | Exec::Begun(_) | Exec::Ended => b"ERR outcome unknown",
    }
}

pub(super) fn not_walked(why: NotWalked) -> &'static [u8] {
    match why {
        NotWalked::TooMuch => b"ERR too much is found to be answered at once: use SCAN",
        NotWalked::Pattern => fixed(Error::PatternTooLong).as_bytes(),
    }
}

/// What the shard refuses, in the words of the command that asked.
pub(super) fn refusal(refusal: Refusal, kind: Kind) -> &'static str {
    match refusal {
        Refusal::ValueTooLarge => fixed(Error::ValueTooLong),
        Refusal::KeyTooLarge => fixed(Error::KeyTooLong),
        Refusal::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
        Refusal::NotANumber if kind == Kind::Float => fixed(Error::NotAFloat),
        Refusal::NotANumber => fixed(Error::NotAnInteger),
        Refusal::Overflow if kind == Kind::Float => fixed(Error::NotFinite),
        Refusal::Overflow => "ERR increment or decrement would overflow",
        Refusal::BadPacked => fixed(Error::BadDump(BadDump::Format)),
        Refusal::RangeTooLong if matches!(kind, Kind::Fields | Kind::Field) => {
            "ERR integers of one command must lie within 1048576 bytes"
        }
        Refusal::RangeTooLong => "ERR bits of more than 16777216 bytes at once: give a range",
    }
}

/// The arguments of a request, or as many as are there.
pub(super) fn words(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut arguments = Arguments::default();
    request::parse(frame, usize::MAX / 16, &mut arguments);
    request::inline_words(frame, &arguments)
}

/// Redis takes arguments for C strings when it repeats them: a zero byte ends them.
fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What an error repeats of an argument.
pub(super) fn repeated(bytes: &[u8]) -> &[u8] {
    clipped(bytes, REPEATED_BYTES_MAX)
}

fn clipped(bytes: &[u8], len_max: usize) -> &[u8] {
    let bytes = c_string(bytes);
    &bytes[..bytes.len().min(len_max)]
}

fn unknown_command(words: &[Vec<u8>]) -> Vec<u8> {
    let (name, arguments) = words.split_first().map(|(name, rest)| (&name[..], rest)).unwrap_or_default();
    let mut others = Vec::new();
    for argument in arguments {
        if others.len() >= REPEATED_BYTES_MAX {
            break;
        }
        let clipped = clipped(argument, REPEATED_BYTES_MAX - others.len());
        others.extend_from_slice(&[b"'", clipped, b"' "].concat());
    }
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(repeated(name));
    text.extend_from_slice(b"', with args beginning with: ");
    text.extend_from_slice(&others);
    text
}
