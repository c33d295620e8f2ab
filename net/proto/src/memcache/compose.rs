//! Requests as a client writes them, for load generators and tests.

use super::LINE_END;

/// Appends `get`, or `gets` where tokens are wanted, of one or more keys.
pub fn get<'k>(keys: impl IntoIterator<Item = &'k [u8]>, cas: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if cas { b"gets" } else { b"get" });
    for key in keys {
        out.push(b' ');
        out.extend_from_slice(key);
    }
    out.extend_from_slice(LINE_END);
}

/// Appends a `set`. `exptime` as the protocol has it: 0 never, seconds from now up to 30 days, else Unix seconds.
pub fn set(key: &[u8], value: &[u8], flags: u32, exptime: i64, out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.reserve(key.len() + value.len() + 64);
    out.extend_from_slice(b"set ");
    out.extend_from_slice(key);
    out.push(b' ');
    out.extend_from_slice(number.format(flags).as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(exptime).as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(value.len()).as_bytes());
    out.extend_from_slice(LINE_END);
    out.extend_from_slice(value);
    out.extend_from_slice(LINE_END);
}

/// Appends a `delete`.
pub fn delete(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"delete ");
    out.extend_from_slice(key);
    out.extend_from_slice(LINE_END);
}

#[cfg(test)]
mod tests {
    #[test]
    fn requests_are_those_of_the_protocol() {
        let mut out = Vec::new();
        super::get([&b"a"[..], b"b"], true, &mut out);
        super::get([&b"a"[..]], false, &mut out);
        super::set(b"k", b"hello", 7, -1, &mut out);
        super::delete(b"k", &mut out);
        assert_eq!(out, b"gets a b\r\nget a\r\nset k 7 -1 5\r\nhello\r\ndelete k\r\n");
    }
}
