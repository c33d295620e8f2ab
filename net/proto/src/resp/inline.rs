//! Inline requests: words of a line, quoted as Redis does it.
//!
//! `"..."` knows `\n \r \t \b \a \xHH` and takes any other escaped byte as it is; `'...'` knows only `\'`. A
//! quote may start within a word (`a"b c"` is one word), and a closing quote must end its word. A zero byte
//! ends the line.
//!
//! [`split`] only finds the words. A word that is one plain quoted string, or has no quote, is a slice of the
//! line; a line with any other word is marked as escaped, and its words are then read by [`decode`].

use super::request::Arguments;

/// A quote without its other half, or with something right behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Appends the words of `line`, which starts at the start of the input.
pub(super) fn split(line: &[u8], arguments: &mut Arguments) -> Result<(), Unbalanced> {
    let line = &line[..line.iter().position(|&byte| byte == 0).unwrap_or(line.len())];
    let mut at = 0;
    while let Some(skip) = line[at..].iter().position(|&byte| !is_blank(byte)) {
        at += skip;
        let len = word_len(&line[at..])?;
        arguments.escaped |= needs_decoding(&line[at..at + len]);
        arguments.push(at, len);
        at += len;
    }
    if !arguments.escaped {
        for span in &mut arguments.spans {
            if matches!(span.of(line).first(), Some(b'"' | b'\'')) {
                span.start += 1;
                span.len -= 2;
            }
        }
    }
    Ok(())
}

/// Raw length of the word at the start of `text`, its quotes included.
fn word_len(text: &[u8]) -> Result<usize, Unbalanced> {
    // Of the blanks, vertical tab and form feed part words only where a word could start.
    let Some(start) =
        text.iter().position(|&byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'\''))
    else {
        return Ok(text.len());
    };
    let quote = text[start];
    if quote != b'"' && quote != b'\'' {
        return Ok(start);
    }
    let mut at = start + 1;
    loop {
        match text.get(at) {
            None => return Err(Unbalanced),
            Some(&byte) if byte == quote => break,
            Some(b'\\') if quote == b'"' && at + 1 < text.len() => at += 2,
            Some(b'\\') if quote == b'\'' && text.get(at + 1) == Some(&b'\'') => at += 2,
            Some(_) => at += 1,
        }
    }
    match text.get(at + 1) {
        Some(&next) if !is_blank(next) => Err(Unbalanced),
        _ => Ok(at + 1),
    }
}

/// Whether a word is something else than a slice of itself.
fn needs_decoding(word: &[u8]) -> bool {
    match word.iter().position(|byte| matches!(byte, b'"' | b'\'')) {
        None => false,
        Some(0) => word.contains(&b'\\'),
        Some(_) => true,
    }
}

/// The bytes that a raw word stands for.
pub(super) fn decode(word: &[u8]) -> Vec<u8> {
    let Some(start) = word.iter().position(|byte| matches!(byte, b'"' | b'\'')) else {
        return word.to_vec();
    };
    let double = word[start] == b'"';
    let mut bytes = word[..start].to_vec();
    let mut rest = word.get(start + 1..word.len().saturating_sub(1)).unwrap_or_default();
    while let Some((&byte, behind)) = rest.split_first() {
        let (decoded, behind) = match (byte, behind) {
            (b'\\', [b'x', high, low, behind @ ..]) if double => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'x', &rest[2..]),
            },
            (b'\\', [escape, behind @ ..]) if double => (unescape(*escape), behind),
            (b'\\', [b'\'', behind @ ..]) => (b'\'', behind),
            _ => (byte, behind),
        };
        bytes.push(decoded);
        rest = behind;
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

fn unescape(escape: u8) -> u8 {
    match escape {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::inline_words;
    use super::*;

    fn words(line: &[u8]) -> Result<(Vec<Vec<u8>>, bool), Unbalanced> {
        let mut arguments = Arguments::default();
        split(line, &mut arguments)?;
        Ok((inline_words(line, &arguments), arguments.escaped))
    }

    #[test]
    fn plain_and_quoted_words_are_slices() {
        let plain: [(&[u8], &[&[u8]]); 6] = [
            (b"  set  a\tb ", &[b"set", b"a", b"b"]),
            (b"set a \"b c\"", &[b"set", b"a", b"b c"]),
            (b"set '' 'b c'", &[b"set", b"", b"b c"]),
            (b"a\0b c", &[b"a"]),
            (b"a\\n b", &[b"a\\n", b"b"]),
            (b"", &[]),
        ];
        for (line, expected) in plain {
            let (words, escaped) = words(line).unwrap();
            assert_eq!(words, expected, "{}", line.escape_ascii());
            assert!(!escaped);
        }
    }

    #[test]
    fn escapes_and_joined_quotes_are_decoded() {
        let escaped: [(&[u8], &[&[u8]]); 6] = [
            (br#"set "a\n\r\t\b\a\\\"z""#, &[b"set", b"a\n\r\t\x08\x07\\\"z"]),
            (br#"set "\x00\xfFg\xzz\x1""#, &[b"set", b"\x00\xffgxzzx1"]),
            (br"set 'it\'s \n'", &[b"set", br"it's \n"]),
            (br#"a"b c" "d""#, &[b"ab c", b"d"]),
            (br#"a'b' "c""#, &[b"ab", b"c"]),
            (br#""\"" plain"#, &[b"\"", b"plain"]),
        ];
        for (line, expected) in escaped {
            let (words, escaped) = words(line).unwrap();
            assert_eq!(words, expected, "{}", line.escape_ascii());
            assert!(escaped);
        }
    }

    #[test]
    fn quotes_must_balance_and_end_their_word() {
        for line in [&b"set \"a"[..], b"set 'a", b"set \"a\"b", b"set 'a'\"b\"", b"\"\\\"", b"'\\'", b"\"a\\"]
        {
            assert_eq!(words(line), Err(Unbalanced), "{}", line.escape_ascii());
        }
    }
}
