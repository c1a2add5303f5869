//! The process: the verdict binary, HTTP, command line, TLS, metrics and drain.
//!
//! ```text
//! main -> cli (arguments as typed) -> process (settings, state folder, listener)
//!                                       server: connections, TLS, drain
//!                                       http: gateway -> routes -> verdict_actors::Handle
//!                                       folder_sync: catalogue folder <-> catalogue
//! ```
//!
//! Nothing is decided here: handlers translate between HTTP and [`verdict_actors::Handle`].

pub mod admin;
mod archive;
pub mod catalogue_dir;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod demo_files;
pub mod folder_sync;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod output;
pub mod process;
mod reasons;
pub mod server;
pub mod settings;
mod transfers;

/// A decision allocates and frees a few hundred small pieces on one thread, which the system's
/// allocator does at several times the cost (`benches/RESULTS.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the program with the process's own arguments.
#[must_use]
pub fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}

/// Runs the program as [`main`] does, with times from another clock than the system's: tests play
/// nodes whose clock jumps with it.
#[must_use]
pub fn main_with_clock(
    clock: impl Fn() -> verdict_config::TimestampMs + Send + Sync + 'static,
) -> std::process::ExitCode {
    verdict_actors::clock::give(clock);
    main()
}
