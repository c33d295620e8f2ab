use super::*;
use crate::session::Protocol;
use crate::worker::testing::{CONN, with_client};

/// Once a client stayed charged for input that was parsed whole and came to nothing, until it sent something else.
#[test]
fn input_that_came_to_nothing_is_not_charged_for() {
    let mut state = with_client(Protocol::Resp);
    state.append_input(CONN, b"\r\n");
    let charged = state.charged();
    let (id, input) = state.next_ready(0).expect("it has input");
    let (scratch, mut parts) = (Scratch::default(), Vec::new());
    let (parsed, cut) = state.parse(id, input.unparsed(), &scratch, &mut parts);
    assert_eq!((parsed.consumed, parts.len()), (2, 0), "an empty line is no request");
    state.keep_input(&Span { conn: id, parsed, parts_end: 0, is_empty: true, cut }, input);
    assert!(state.charged() < charged);
    state.budget_is_kept(0).unwrap();
}
