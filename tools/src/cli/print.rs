//! Replies in words, one indented line an element.

use torc_proto::resp::reply::Reply;

/// Bytes in double quotes, with whatever is no printable text escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", c as u32)),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text.push('"');
    text
}

/// A RESP reply as people read it, ended by a line end.
pub(crate) fn reply(reply: &Reply) -> String {
    let mut text = String::new();
    write(reply, "", &mut text);
    text
}

fn write(reply: &Reply, indent: &str, text: &mut String) {
    let line = match reply {
        Reply::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Error(bytes) => format!("(error) {}", String::from_utf8_lossy(bytes)),
        Reply::Integer(number) => format!("(integer) {number}"),
        Reply::Bulk(bytes) => quoted(bytes),
        Reply::Null => "(nil)".into(),
        Reply::Boolean(yes) => format!("({yes})"),
        Reply::Double(number) => format!("(double) {number}"),
        Reply::BigNumber(digits) => format!("(number) {}", String::from_utf8_lossy(digits)),
        Reply::Verbatim { text, .. } => String::from_utf8_lossy(text).into_owned(),
        Reply::Array(list) | Reply::Set(list) | Reply::Push(list) => return elements(list, indent, text),
        Reply::Map(pairs) => return map(pairs, indent, text),
    };
    text.push_str(&line);
    text.push('\n');
}

/// The first line of a nested element continues the line of its number.
fn elements(list: &[Reply], indent: &str, text: &mut String) {
    if list.is_empty() {
        text.push_str("(empty)\n");
    }
    for (index, element) in list.iter().enumerate() {
        let number = format!("{}) ", index + 1);
        if index > 0 {
            text.push_str(indent);
        }
        text.push_str(&number);
        write(element, &format!("{indent}{:width$}", "", width = number.len()), text);
    }
}

fn map(pairs: &[(Reply, Reply)], indent: &str, text: &mut String) {
    if pairs.is_empty() {
        text.push_str("(empty)\n");
    }
    for (index, (key, value)) in pairs.iter().enumerate() {
        let mut name = String::new();
        write(key, "", &mut name);
        let name = format!("{}: ", name.trim_end());
        if index > 0 {
            text.push_str(indent);
        }
        text.push_str(&name);
        write(value, &format!("{indent}{:width$}", "", width = name.len()), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_shown_with_their_types() {
        let bulk = |text: &str| Reply::Bulk(text.into());
        for (given, shown) in [
            (Reply::Simple(b"OK".to_vec()), "OK\n"),
            (Reply::Error(b"ERR no".to_vec()), "(error) ERR no\n"),
            (Reply::Integer(7), "(integer) 7\n"),
            (Reply::Null, "(nil)\n"),
            (bulk("a\"\r\n\u{1}"), "\"a\\\"\\r\\n\\x01\"\n"),
            (Reply::Bulk(vec![0xff]), "\"\\xff\"\n"),
            (Reply::Array(vec![]), "(empty)\n"),
            (
                Reply::Array(vec![bulk("a"), Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)])]),
                "1) \"a\"\n2) 1) (integer) 1\n   2) (integer) 2\n",
            ),
            (
                Reply::Map(vec![(bulk("k"), Reply::Integer(1)), (bulk("l"), Reply::Null)]),
                "\"k\": (integer) 1\n\"l\": (nil)\n",
            ),
        ] {
            assert_eq!(reply(&given), shown);
        }
    }
}
