//! No text makes the rule parser panic or run away.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = verdict_rules::parse_expression(text);
});
