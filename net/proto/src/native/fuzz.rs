//! Fuzz bodies: any bytes in, no panic, and what is accepted is stable under composing and parsing again.

use super::*;
use crate::slot::slot_of;

const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };

/// Requests back to back, as a server reads them.
pub fn fuzz_native_request(mut input: &[u8]) {
    while let Ok((request, consumed)) = Request::parse(input, &LIMITS) {
        assert!(consumed >= frame::REQUEST_HEADER_BYTES);
        assert_eq!(request.header.frame_bytes(), consumed as u64);
        let head = Request::parse_head(input).expect("a whole frame has a head");
        assert_eq!((head.0.key, head.1), (request.key, request.header.head_bytes()));
        if let Ok(options) = Options::parse(request.extensions) {
            let mut encoded = Vec::new();
            options.compose(&mut encoded);
            assert_eq!(encoded.len(), usize::from(options.encoded_bytes()));
            assert_eq!(Options::parse(&encoded), Ok(options));
        }
        let _ = Hello::parse(request.value);
        if let Ok((keys, count)) = Keys::parse(request.value, 1024) {
            assert_eq!(keys.count(), count);
        }
        let _ = slot_of(request.key);
        input = &input[consumed..];
    }
}

/// Answers back to back, as a client reads them.
pub fn fuzz_native_answer(mut input: &[u8]) {
    while let Ok((answer, consumed)) = Answer::parse(input, &LIMITS) {
        assert!(consumed >= frame::ANSWER_HEADER_BYTES);
        let mut composed = Vec::new();
        answer.compose(&mut composed).expect("its lengths came from a frame");
        assert_eq!(composed, &input[..consumed]);
        if let Ok(facts) = ItemFacts::parse(answer.extensions) {
            let mut encoded = Vec::new();
            facts.compose(&mut encoded);
            assert_eq!(ItemFacts::parse(&encoded), Ok(facts));
        }
        let _ = HelloAnswer::parse(answer.value);
        let _ = topology::WrongOwner::parse(answer.value);
        if let Ok(map) = Topology::parse(answer.value) {
            let mut encoded = Vec::new();
            map.compose(&mut encoded);
            assert_eq!(Topology::parse(&encoded), Ok(map));
        }
        input = &input[consumed..];
    }
}
