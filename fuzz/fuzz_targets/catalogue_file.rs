//! No catalogue file makes the reader panic, faults can always be placed in it, and what was read is
//! written as files that are read again.
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
        match write_files(&objects) {
            Ok(files) => assert!(read_files(&files).is_ok(), "what was written can be read"),
            Err(faults) => panic!("what was read can be written: {faults:?}"),
        }
    }
});
