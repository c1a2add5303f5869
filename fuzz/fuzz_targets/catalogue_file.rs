//! No catalogue file makes the reader panic, and faults can always be placed in it.
#![no_main]

use std::collections::BTreeMap;

use verdict_config::catalogue::{read_files, write_files};

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let path = match input.0 % 4 {
        0 => "rules/a.yaml",
        1 => "flows/a.yaml",
        2 => "lists/a.csv",
        _ => "tables/a.csv",
    };
    let files = BTreeMap::from([(path.to_owned(), input.1.to_vec())]);
    if let Ok(text) = read_files(&files) {
        let objects = text.objects.into_iter().map(|(id, object)| (id, object.body)).collect();
        assert!(write_files(&objects).is_ok(), "what was read can be written");
    }
});
