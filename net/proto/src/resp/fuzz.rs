//! Fuzz bodies: ordinary functions that panic when a promise is broken.

use super::dump::{self, Dumped, FOOTER_BYTES};
use super::reply;
use super::request::{self, Arguments, SMALL_ARGUMENTS_MAX, Span, Step};

/// Any bytes: the parser ends, stays within the input, makes progress, and says the same however they are cut.
pub fn fuzz_resp_request(input: &[u8]) {
    const ARGUMENTS_MAX: usize = 64;
    let mut arguments = Arguments::default();
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        let step = request::parse(rest, ARGUMENTS_MAX, &mut arguments);
        check_spans(rest, &arguments, step);
        match step {
            Step::Complete { consumed } | Step::Empty { consumed } => {
                check_small(rest, &arguments, step);
                check_prefixes(rest, consumed, step, ARGUMENTS_MAX);
                at += consumed;
            }
            Step::Incomplete { missing } => {
                assert_ne!(missing, 0);
                break;
            }
            Step::Invalid(_) => break,
        }
    }
    let _ = reply::parse(input);
}

/// Any bytes as what RESTORE takes, with their own checksum and with a right one: what is read lies within them.
pub fn fuzz_resp_dump(input: &[u8]) {
    let _ = dump::read(input);
    let sealed = dump::sealed(input);
    match dump::read(&sealed) {
        Ok(Dumped::Plain(value)) => assert!(value.len() + FOOTER_BYTES < sealed.len()),
        Ok(Dumped::Lzf(packed, _)) => assert!(packed.len() + FOOTER_BYTES < sealed.len()),
        Ok(Dumped::Integer(_)) | Err(_) => {}
    }
}

fn check_spans(rest: &[u8], arguments: &Arguments, step: Step) {
    let mut end = 0;
    for span in &arguments.spans {
        assert!(span.start as usize >= end, "arguments are in order");
        end = (span.start + span.len) as usize;
        assert!(end <= rest.len(), "arguments lie within the input");
    }
    if let Step::Complete { consumed } = step {
        assert!(!arguments.spans.is_empty() && arguments.spans.len() == arguments.announced);
        assert!(end <= consumed && consumed <= rest.len());
    }
}

fn check_small(rest: &[u8], arguments: &Arguments, step: Step) {
    let mut spans = [Span::default(); SMALL_ARGUMENTS_MAX];
    if let Some((count, consumed)) = request::parse_small(rest, &mut spans) {
        assert_eq!(step, Step::Complete { consumed });
        assert_eq!(arguments.spans, spans[..count]);
    }
}

/// A request that is whole is incomplete in each of its prefixes, never lacks more than is to come, and comes
/// to the same when it is taken up again.
fn check_prefixes(rest: &[u8], consumed: usize, step: Step, arguments_max: usize) {
    let mut arguments = Arguments::default();
    // Short requests at every cut, long ones at some.
    for cut in (0..consumed).step_by(1 + consumed / 256) {
        match request::resume(&rest[..cut], arguments_max, &mut arguments) {
            Step::Incomplete { missing } => {
                assert!(cut + missing <= consumed, "{missing} missing at {cut} of {step:?}");
            }
            other => panic!("{other:?} of a prefix of {step:?}"),
        }
    }
    assert_eq!(request::resume(&rest[..consumed], arguments_max, &mut arguments), step);
    let mut whole = Arguments::default();
    request::parse(rest, arguments_max, &mut whole);
    assert_eq!((whole.spans, whole.escaped), (arguments.spans, arguments.escaped));
}
