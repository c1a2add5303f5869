//! No body of a decision, a batch or an NDJSON stream makes the request parsers panic.
#![no_main]

use verdict_decisions::request::{parse_batch, parse_body, parse_lines};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = parse_body(bytes) {
        let _ = request.body_sha256();
    }
    let _ = parse_batch(bytes, 64);
    let _ = parse_lines(bytes, 64).map(|lines| lines.len());
});
