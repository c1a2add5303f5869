//! The process: the verdict binary, HTTP, command line, TLS, metrics and drain.

/// Runs the program with the process's own arguments.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
