//! The process's own log: lines on standard error, text or JSON, never with inputs or secrets.
//!
//! Spans and events carry names, ids, counts and codes only; request bodies and keys are never given
//! to `tracing` anywhere in the workspace. An operator may have other lines logged for a time; then
//! those of the settings hold again.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use verdict_config::settings::{LogFormat, LogSettings};

type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The filter of a log that was started.
struct Started {
    directives: String,
    change: Change,
    /// Counts changes, so that an older one's end does not undo a newer one.
    changes: AtomicU64,
    /// Those that hold in place of the settings' own.
    others: Mutex<Option<String>>,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Logged {
    /// What holds now.
    pub directives: String,
    /// What the settings say.
    pub settings: String,
}

/// What is logged now.
///
/// # Errors
/// A log that is not this module's.
pub fn now() -> Result<Logged, String> {
    let started = started()?;
    let settings = started.directives.clone();
    let others = started.others.lock().clone();
    Ok(Logged { directives: others.unwrap_or_else(|| settings.clone()), settings })
}

/// Whether directives may be set.
///
/// # Errors
/// As [`set`].
pub fn check(directives: Option<&str>) -> Result<(), String> {
    wanted(directives).map(|_| ())
}

fn started() -> Result<&'static Started, String> {
    STARTED.get().ok_or_else(|| "this process has another log".to_owned())
}

fn wanted(directives: Option<&str>) -> Result<EnvFilter, String> {
    let started = started()?;
    if directives.is_some_and(|directives| directives.len() > DIRECTIVES_BYTES_MAX) {
        return Err(format!("they have at most {DIRECTIVES_BYTES_MAX} bytes"));
    }
    filter(directives.unwrap_or(&started.directives))
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// The longest directives.
const DIRECTIVES_BYTES_MAX: usize = 1_024;

fn filter(directives: &str) -> Result<EnvFilter, String> {
    let mut all = directives.to_owned();
    if !all.contains("openraft") {
        // It tells every message that it gets; what matters of them, the node's own lines say.
        all.push_str(",openraft=warn");
    }
    if !all.contains("ractor") {
        // The same of sessions that open and close.
        all.push_str(",ractor=warn,ractor_cluster=error");
    }
    EnvFilter::try_new(&all).map_err(|_| {
        format!(
            "{directives:?} does not say what to log: write a level (error, warn, info, debug, trace), \
             or levels of modules such as info,verdict_consensus=debug"
        )
    })
}

/// Starts the log; a second start in one process changes nothing.
///
/// # Errors
/// The filter cannot be read.
pub fn start(settings: &LogSettings) -> Result<(), String> {
    let first = filter(&settings.level).map_err(|error| format!("log.level {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(first)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    // An embedding process may have its own subscriber: it keeps it, and its filter.
    let change: Option<Change> = match settings.format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let builder = builder.with_ansi(colour).with_filter_reloading();
            let handle = builder.reload_handle();
            let change = move |filter| handle.reload(filter).map_err(|error| error.to_string());
            builder.try_init().ok().map(|()| Box::new(change) as Change)
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let change = move |filter| handle.reload(filter).map_err(|error| error.to_string());
            builder.try_init().ok().map(|()| Box::new(change) as Change)
        }
    };
    if let Some(change) = change {
        let directives = settings.level.clone();
        drop(STARTED.set(Started {
            directives,
            change,
            changes: AtomicU64::new(0),
            others: Mutex::new(None),
        }));
    }
    Ok(())
}

/// Has other lines logged for a time; those of the settings at once, if none are named.
///
/// # Errors
/// Directives that cannot be read; a log that is not this module's.
pub fn set(directives: Option<&str>, length: Duration) -> Result<(), String> {
    let started = started()?;
    let mut others = started.others.lock();
    (started.change)(wanted(directives)?)?;
    *others = directives.map(str::to_owned);
    let this = started.changes.fetch_add(1, Ordering::SeqCst) + 1;
    if directives.is_none() {
        return Ok(());
    }
    let back = std::thread::Builder::new().name("log-level".to_owned()).spawn(move || {
        std::thread::sleep(length);
        let mut others = started.others.lock();
        if started.changes.load(Ordering::SeqCst) == this
            && let Ok(filter) = filter(&started.directives)
        {
            drop((started.change)(filter));
            *others = None;
            tracing::info!("what the settings say is logged again");
        }
    });
    back.map(drop).map_err(|error| error.to_string())
}
