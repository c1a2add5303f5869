//! Deliberate bugs, which long runs against real clusters must catch: a check that cannot fail proves
//! nothing. The crate of the log has others.
//!
//! `VERDICT_BUG=NAME cargo build ...`, in a target folder of its own. Without it nothing changes.

#![allow(clippy::print_stdout, reason = "a build script speaks to cargo by printing")]

/// Bugs that this crate knows.
const BUGS: [&str; 2] = ["mixed_revision", "serve_retired"];

fn main() {
    let values: Vec<String> = BUGS.iter().map(|bug| format!("\"{bug}\"")).collect();
    println!("cargo::rustc-check-cfg=cfg(verdict_bug, values({}))", values.join(", "));
    println!("cargo::rerun-if-env-changed=VERDICT_BUG");
    println!("cargo::rerun-if-changed=build.rs");
    let bug = std::env::var("VERDICT_BUG").unwrap_or_default();
    if BUGS.contains(&bug.as_str()) {
        println!("cargo::rustc-cfg=verdict_bug=\"{bug}\"");
        println!("cargo::warning=built with the deliberate bug {bug}");
    }
}
