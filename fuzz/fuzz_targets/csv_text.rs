//! No bytes make the CSV reader panic; every fault has a place in the text; rows are as wide as the
//! header; and the sizes of the pieces that the text comes in do not matter.
#![no_main]

use std::io::BufReader;

use verdict_config::csv::{CsvOptions, CsvReader, CsvRecord, read_csv};

libfuzzer_sys::fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, trim, bytes) = input;
    let options = CsvOptions { trim, cell_bytes_max: 4_096, ..CsvOptions::default() };
    let whole = read_csv(bytes, &options);
    match &whole {
        Ok(text) => {
            assert!(text.rows.iter().all(|row| row.len() == text.header.len()));
        }
        Err(faults) => {
            let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            for fault in faults {
                assert!(fault.line >= 1 && fault.column >= 1 && !fault.message.is_empty());
                assert!(fault.line as usize <= lines, "{fault}");
            }
        }
    }
    let source = BufReader::with_capacity(usize::from(piece) + 1, bytes);
    let mut rows = Vec::new();
    let mut is_faulty = false;
    match CsvReader::new(source, &options) {
        Err(_) => is_faulty = true,
        Ok(mut reader) => loop {
            let mut record = CsvRecord::default();
            match reader.read(&mut record) {
                Ok(true) => rows.push(record),
                Ok(false) => break,
                Err(_) => is_faulty = true,
            }
        },
    }
    match whole {
        Ok(text) => assert!(!is_faulty && text.rows == rows),
        Err(_) => assert!(is_faulty),
    }
});
