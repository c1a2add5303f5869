//! The process's own log: lines on standard error, text or JSON, never with inputs or secrets.
//!
//! Spans and events carry names, ids, counts and codes only; request bodies and keys are never given
//! to `tracing` anywhere in the workspace.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use verdict_config::settings::{LogFormat, LogSettings};

/// Starts the log; a second start in one process changes nothing.
///
/// # Errors
/// The filter cannot be read.
pub fn start(settings: &LogSettings) -> Result<(), String> {
    let mut directives = settings.level.clone();
    if !directives.contains("openraft") {
        // It tells every message that it gets; what matters of them, the node's own lines say.
        directives.push_str(",openraft=warn");
    }
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| format!("log.level {:?}: {error}", settings.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    // An embedding process may have its own subscriber: it keeps it.
    let _ = match settings.format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
