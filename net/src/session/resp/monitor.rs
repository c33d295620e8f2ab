//! What a monitor is shown of requests, in Redis' words.

use super::facts;
use super::row::Row;
use super::subcommands::subcommands;
use torc_proto::resp::Span;
use torc_proto::resp::request::inline_word;

/// Most words of a request that are shown, and bytes of one.
const WORDS_MAX: usize = 128;
const WORD_BYTES_MAX: usize = 1024;

/// Whether a request is shown. Passwords are not, nor what administers the server.
pub(super) fn is_shown(row: &Row, subcommand: Option<&[u8]>) -> bool {
    let name = match subcommand.filter(|_| !subcommands(row.name).is_empty()) {
        Some(word) => format!("{}|{}", row.name, String::from_utf8_lossy(word).to_lowercase()),
        None => row.name.to_owned(),
    };
    !matches!(row.name, "auth" | "hello")
        && facts::of(&name).is_none_or(|facts| !facts.flags.contains(&"admin"))
}

/// The words of a request as far as they are there, each in quotes, behind one another.
pub(super) fn show(frame: &[u8], spans: &[Span], is_escaped: bool, out: &mut Vec<u8>) {
    for (number, span) in spans.iter().enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        if number == WORDS_MAX {
            out.extend_from_slice(format!("... ({} more arguments)", spans.len() - number).as_bytes());
            return;
        }
        let word = span.of(frame);
        if is_escaped { quote(&inline_word(word), out) } else { quote(word, out) }
    }
}

/// A word in quotes; what is no printable letter is escaped.
pub(in crate::session) fn quote(word: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in &word[..word.len().min(WORD_BYTES_MAX)] {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    if word.len() > WORD_BYTES_MAX {
        out.extend_from_slice(format!("... ({} more bytes)", word.len() - WORD_BYTES_MAX).as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_redis_does_and_cut() {
        for (word, quoted) in [
            (&b"key"[..], r#""key""#),
            (b"", r#""""#),
            (b"a \"b\\\r\n\t\x07\x08\x00\xff~", r#""a \"b\\\r\n\t\a\b\x00\xff~""#),
        ] {
            let mut out = Vec::new();
            quote(word, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), quoted);
        }
        let mut out = Vec::new();
        quote(&[b'x'; WORD_BYTES_MAX + 5], &mut out);
        assert!(out.ends_with(b"x... (5 more bytes)\""));
    }
}
