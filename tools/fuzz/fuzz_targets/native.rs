//! Native frames, read as a server reads requests and as a client reads answers.
#![no_main]

use torc_proto::native::fuzz::{fuzz_native_answer, fuzz_native_request};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    fuzz_native_request(input);
    fuzz_native_answer(input);
});
