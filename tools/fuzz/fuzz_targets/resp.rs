//! RESP requests, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| torc_proto::resp::fuzz::fuzz_resp_request(input));
