//! The demo catalogue's files, embedded in the program.

/// Path inside the catalogue folder, and bytes.
pub static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/demo_files.rs"));
