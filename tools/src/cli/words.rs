//! A line of input as words: split at blanks, quoted as people expect.
//!
//! `"double quotes"` know `\n \r \t \\ \" \xHH`; `'single quotes'` keep everything as it is but `\'`.

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WordsError {
    #[error("a quote is not closed")]
    Open,
    #[error("there must be a blank behind a closing quote")]
    Glued,
}

/// The words of a line; they are bytes, as `\xHH` can make any.
pub(crate) fn words(line: &str) -> Result<Vec<Vec<u8>>, WordsError> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' => double(&rest[1..])?,
            '\'' => single(&rest[1..])?,
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest.as_bytes()[..end].to_vec(), &rest[end..])
            }
        };
        if !behind.is_empty() && !behind.starts_with(char::is_whitespace) {
            return Err(WordsError::Glued);
        }
        words.push(word);
        rest = behind.trim_start();
    }
    Ok(words)
}

fn single(text: &str) -> Result<(Vec<u8>, &str), WordsError> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find('\'').ok_or(WordsError::Open)?;
        let part = &rest[..end];
        rest = &rest[end + 1..];
        match part.strip_suffix('\\') {
            Some(part) => word.extend([part.as_bytes(), b"'"].concat()),
            None => {
                word.extend(part.as_bytes());
                return Ok((word, rest));
            }
        }
    }
}

fn double(text: &str) -> Result<(Vec<u8>, &str), WordsError> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(['"', '\\']).ok_or(WordsError::Open)?;
        word.extend(&rest.as_bytes()[..end]);
        let closes = rest[end..].starts_with('"');
        rest = &rest[end + 1..];
        if closes {
            return Ok((word, rest));
        }
        rest = escape(rest, &mut word)?;
    }
}

/// What stands behind a backslash; the rest of the text comes back.
fn escape<'t>(text: &'t str, word: &mut Vec<u8>) -> Result<&'t str, WordsError> {
    let escaped = text.chars().next().ok_or(WordsError::Open)?;
    let hex =
        text.get(1..3).filter(|_| escaped == 'x').and_then(|digits| u8::from_str_radix(digits, 16).ok());
    if let Some(byte) = hex {
        word.push(byte);
        return Ok(&text[3..]);
    }
    match escaped {
        'n' => word.push(b'\n'),
        'r' => word.push(b'\r'),
        't' => word.push(b'\t'),
        other => word.extend(other.to_string().as_bytes()),
    }
    Ok(&text[escaped.len_utf8()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_split_as_people_expect() {
        let table: [(&str, &[&[u8]]); 8] = [
            ("", &[]),
            ("  get   key ", &[b"get", b"key"]),
            (r#"set k "two words""#, &[b"set", b"k", b"two words"]),
            (r#"set k """#, &[b"set", b"k", b""]),
            (r#"set k "a\x00\xff\n\"\\""#, &[b"set", b"k", b"a\x00\xff\n\"\\"]),
            (r"set k 'it\'s \n'", &[b"set", b"k", br"it's \n"]),
            (r#"set k "\xzz""#, &[b"set", b"k", b"xzz"]),
            ("set k é", &[b"set", b"k", "é".as_bytes()]),
        ];
        for (line, expected) in table {
            let words = words(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(words, expected, "{line}");
        }
    }

    #[test]
    fn open_and_glued_quotes_are_named() {
        assert_eq!(words("get 'k"), Err(WordsError::Open));
        assert_eq!(words("get \"k"), Err(WordsError::Open));
        assert_eq!(words("get \"k\\"), Err(WordsError::Open));
        assert_eq!(words("get \"k\"x"), Err(WordsError::Glued));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".*") {
            let _ = words(&line);
        }

        #[test]
        fn what_show_writes_words_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let shown = crate::cli::print::quoted(&bytes);
            prop_assert_eq!(words(&shown), Ok(vec![bytes]));
        }
    }
}
