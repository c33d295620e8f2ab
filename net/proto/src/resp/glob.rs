//! Patterns of SCAN: `*`, `?`, `[a-c]`, `[^a]` and `\` as in Redis.
//!
//! Promise: at most `pattern.len() * text.len()` steps and no recursion, so that no pattern can hold a shard up.
//! Method: a `*` is remembered with the place in the text that it was tried at; on a mismatch the last `*`
//! takes one byte more. An earlier `*` never has to be tried again, as the last one can take whatever it could.

/// Whether the whole of `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut rest) = (pattern, text);
    // Behind the last `*`, and the text that it has not taken.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', behind)) = at.split_first() {
            if behind.is_empty() {
                return true;
            }
            retry = Some((behind, rest));
            at = behind;
            continue;
        }
        match (rest.split_first(), at.is_empty()) {
            (None, true) => return true,
            (Some((&byte, text)), false) => {
                if let Some(behind) = step(at, byte) {
                    (at, rest) = (behind, text);
                    continue;
                }
            }
            // Text or pattern is left over.
            (Some(_), true) => {}
            (None, false) => return false,
        }
        match retry {
            Some((behind, [_, text @ ..])) => {
                retry = Some((behind, text));
                (at, rest) = (behind, text);
            }
            _ => return false,
        }
    }
}

/// Matches one byte with the first element of `pattern`, which is no `*`: what is behind the element.
fn step(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', behind @ ..] => Some(behind),
        [b'[', class @ ..] => match class_matches(class, byte) {
            (true, behind) => Some(behind),
            (false, _) => None,
        },
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] if *literal == byte => Some(behind),
        _ => None,
    }
}

/// Whether `byte` is in the class that starts behind its `[`, and what is behind its `]`. A class without end
/// reaches to the end of the pattern.
fn class_matches(class: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        class = match class {
            [] => return (found != negated, class),
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (found != negated, rest),
            [first, b'-', last, rest @ ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let table: [(&str, &str, bool); 32] = [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("**", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b*", "abc", true),
            ("*d*", "abc", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "", false),
            ("[abc]", "b", true),
            ("[abc]", "d", false),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[^a-c]", "b", false),
            ("[^a-c]", "d", true),
            ("[^]", "a", true),
            ("[]", "a", false),
            ("[a", "a", true),
            ("[\\]]", "]", true),
            ("[a\\-c]", "b", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("user:*:name", "user:17:name", true),
            ("*:[0-9]", "a:b:7", true),
            ("*a", "aaab", false),
            ("*ab", "aaab", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = b"a*".repeat(100);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 10_000]));
    }
}
