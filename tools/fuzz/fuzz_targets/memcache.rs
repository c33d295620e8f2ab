//! memcached's text and meta requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| torc_proto::memcache::fuzz_memcache_request(input));
