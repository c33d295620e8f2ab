//! Where answers may differ.

use super::Words;
use torc_proto::resp::reply::Reply;

/// Two servers are asked one behind the other, and their clocks read then.
const CLOCK_MS: i64 = 5_000;

/// References that Redis counts of a small number, which all share.
const SHARED: i64 = i32::MAX as i64;

/// Whether our answer to a command may stand beside that of Redis.
pub(crate) fn are_the_same(words: &Words, theirs: &Reply, ours: &Reply) -> bool {
    if theirs == ours || is_of_object(words, theirs, ours) {
        return true;
    }
    match (theirs, ours) {
        // Whether the client is there to which is redirected is looked at last: another shard may know it.
        (Reply::Error(theirs), Reply::Error(_)) if is_of(words, "client") || is_of(words, "exec") => {
            theirs == b"ERR The client ID you want redirect to does not exist"
        }
        (Reply::Map(theirs), Reply::Map(ours)) if theirs.len() == ours.len() => {
            theirs.iter().zip(ours).all(|(theirs, ours)| {
                are_the_same(words, &theirs.0, &ours.0) && are_the_same(words, &theirs.1, &ours.1)
            })
        }
        // Keys have no order. Of EXEC each answer stands for itself, whatever its command was.
        (Reply::Array(theirs), Reply::Array(ours)) if theirs.len() == ours.len() => {
            let is_list = theirs.iter().all(|reply| matches!(reply, Reply::Bulk(_)));
            let is_of_keys = is_list && (is_of(words, "keys") || is_of(words, "exec"));
            is_of_keys && sorted(theirs) == sorted(ours)
                || theirs.iter().zip(ours).all(|(theirs, ours)| are_the_same(words, theirs, ours))
        }
        // Newer releases of Redis look at all arguments before the key.
        (Reply::Integer(-1..=0), Reply::Error(error)) => {
            (is_of(words, "bitcount") || is_of(words, "bitpos") || is_of(words, "exec"))
                && error.starts_with(b"ERR")
        }
        // Of the same time to live, given twice, the second may end a millisecond later, or not.
        (Reply::Integer(0..=1), Reply::Integer(0..=1)) if has_order(words) => true,
        // Redis counts keys whose time is over until it meets them.
        (Reply::Integer(theirs), Reply::Integer(ours)) if is_of(words, "dbsize") => ours < theirs,
        // Times to live and moments of expiry.
        (Reply::Integer(theirs), Reply::Integer(ours)) => {
            let tolerance = match () {
                () if is_of(words, "ttl") || is_of(words, "expiretime") => CLOCK_MS / 1000,
                () if is_of(words, "pttl") || is_of(words, "pexpiretime") || is_of(words, "exec") => CLOCK_MS,
                () => 0,
            };
            *theirs > 0 && *ours > 0 && (theirs - ours).abs() <= tolerance
        }
        _ => false,
    }
}

/// OBJECT is honest: a value is counted once (REFCOUNT), and HELP says what there is.
fn is_of_object(words: &Words, theirs: &Reply, ours: &Reply) -> bool {
    if !is_of(words, "object") && !is_of(words, "exec") {
        return false;
    }
    let is_count = matches!((theirs, ours), (Reply::Integer(SHARED), Reply::Integer(1)));
    is_count || (is_encoding(theirs) && is_encoding(ours)) || (is_help(theirs) && is_help(ours))
}

/// EXPIRE with GT or LT, or an EXEC that may have one.
fn has_order(words: &Words) -> bool {
    let is_order = |word: &Vec<u8>| word.eq_ignore_ascii_case(b"GT") || word.eq_ignore_ascii_case(b"LT");
    is_of(words, "exec") || words.iter().skip(3).any(is_order)
}

fn is_help(reply: &Reply) -> bool {
    let first =
        |all: &Vec<Reply>| matches!(all.first(), Some(Reply::Simple(text)) if text.starts_with(b"OBJECT"));
    matches!(reply, Reply::Array(all) if first(all))
}

/// Ours says what Redis calls a value that was set; Redis remembers that it was changed in place since.
fn is_encoding(reply: &Reply) -> bool {
    matches!(reply, Reply::Bulk(name) if [&b"int"[..], b"embstr", b"raw"].contains(&&name[..]))
}

fn is_of(words: &Words, name: &str) -> bool {
    words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn sorted(replies: &[Reply]) -> Vec<Reply> {
    let mut all = replies.to_vec();
    all.sort_by_key(|reply| format!("{reply:?}"));
    all
}
