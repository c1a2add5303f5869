//! The `verdict` program, as the whole-process tests start it.
//!
//! Its clock can be moved: where the environment names a file in `UNDER_TEST_CLOCK`, the number in
//! it is how many milliseconds the clock is ahead of the system's (behind, if negative), now. The
//! program that is shipped knows no such thing.

use std::path::PathBuf;

use verdict_actors::clock::system_now;
use verdict_config::TimestampMs;
use verdict_tests::chaos::cluster::CLOCK_FILE;

fn main() -> std::process::ExitCode {
    let Some(file) = std::env::var_os(CLOCK_FILE).map(PathBuf::from) else {
        return verdict_node::main();
    };
    verdict_node::main_with_clock(move || {
        let ahead_ms = std::fs::read_to_string(&file).ok();
        let ahead_ms = ahead_ms.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        TimestampMs(system_now().0.saturating_add(ahead_ms))
    })
}
