//! Patterns of SCAN: `*`, `?`, `[a-c]`, `[^a]` and `\` as in Redis.
//!
//! Promise: no recursion, and no more steps than the caller has to spend, so that no pattern can hold a shard up: a hostile
//! one takes `pattern.len() * text.len()`, a usual one two a byte of the text.
//! Method: a `*` is remembered with the place in the text that it was tried at; on a mismatch the last `*`
//! takes one byte more. An earlier `*` never has to be tried again, as the last one can take whatever it could.

/// Whether the whole of `text` matches `pattern`. Bytes of the pattern that are looked at are taken from `steps`; `None` if
/// there were too few.
pub fn matches(pattern: &[u8], text: &[u8], steps: &mut usize) -> Option<bool> {
    let (mut at, mut rest) = (pattern, text);
    // Behind the last `*`, and the text that it has not taken.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', behind)) = at.split_first() {
            if behind.is_empty() {
                return Some(true);
            }
            retry = Some((behind, rest));
            at = behind;
            continue;
        }
        match (rest.split_first(), at.is_empty()) {
            (None, true) => return Some(true),
            (Some((&byte, text)), false) => {
                let (found, behind) = step(at, byte);
                *steps = steps.checked_sub(at.len() - behind.len())?;
                if found {
                    (at, rest) = (behind, text);
                    continue;
                }
            }
            // Text or pattern is left over.
            (Some(_), true) => {}
            (None, false) => return Some(false),
        }
        match retry {
            Some((behind, [_, text @ ..])) => {
                retry = Some((behind, text));
                (at, rest) = (behind, text);
            }
            _ => return Some(false),
        }
    }
}

/// Matches one byte with the first element of `pattern`, which is no `*`; and what is behind the element.
fn step(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    match pattern {
        [b'?', behind @ ..] => (true, behind),
        [b'[', class @ ..] => class_matches(class, byte),
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => (*literal == byte, behind),
        [] => (false, pattern),
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
            let matched = matches(pattern.as_bytes(), text.as_bytes(), &mut 1000);
            assert_eq!(matched, Some(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn a_usual_pattern_takes_few_steps() {
        for pattern in [&b"*foo*"[..], b"user:*:name", b"a*b*c", b"*[0-9]"] {
            let mut steps = 10_000;
            assert_eq!(matches(pattern, &[b'x'; 1000], &mut steps), Some(false));
            assert!(steps > 4_000, "{}", pattern.escape_ascii());
        }
    }

    /// Once such patterns over a thousand long keys held a shard for seconds.
    #[test]
    fn a_hostile_pattern_ends_when_its_steps_are_spent() {
        let text = [b'a'; 4000];
        let class = [&b"*[^"[..], &[b'b'; 2000], b"]b"].concat();
        for pattern in [
            &[&b"*"[..], &[b'a'; 2000], b"b"].concat()[..],
            &[&b"*"[..], &[b'?'; 2000], b"b*"].concat(),
            &class,
        ] {
            assert_eq!(matches(pattern, &text, &mut 100_000), None, "{}", pattern.escape_ascii());
        }
        let pattern = [&b"a*".repeat(100)[..], b"b"].concat();
        assert_eq!(matches(&pattern, &[b'a'; 10_000], &mut 100_000), Some(false));
    }
}
