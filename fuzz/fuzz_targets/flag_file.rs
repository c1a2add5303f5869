//! No bytes make the flag file reader panic; what it accepts compiles or is refused with faults, and
//! evaluates without panicking.
#![no_main]

use std::collections::BTreeMap;

use verdict_config::TimestampMs;
use verdict_config::flags::{EvaluationContext, FlagSet, FlagSources, parse_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = parse_file(bytes) else { return };
    let sources = FlagSources {
        flags: file.flags.iter().map(|(key, body)| (key.as_str(), body)).collect(),
        segments: BTreeMap::new(),
        files: BTreeMap::from([("fuzz", &file.setting)]),
    };
    let Ok(set) = FlagSet::compile(&sources) else { return };
    for (key, _) in &file.flags {
        let _ = set.evaluate(key, &EvaluationContext::empty(), TimestampMs(0));
    }
});
