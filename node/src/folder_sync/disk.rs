//! The folder on the disk: watching it, waiting until it is quiet, writing and removing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;
use verdict_config::model::sha256_hex;

use crate::catalogue_dir::FolderError;

/// How long the folder must be quiet before it is read: editors save in several steps.
const QUIET: Duration = Duration::from_millis(80);

/// How long a restless folder is waited for at most.
const RESTLESS_MAX: Duration = Duration::from_millis(1_000);

/// The first pause after the folder could not be read or written; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Attempts after a failure. Each attempt changes the folder and so raises an event of its own: without
/// a pause, a full disk would be written to, and reported, many times a second.
#[derive(Debug, Default)]
pub(super) struct Retries {
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    message: String,
    pause: Duration,
    again: Instant,
}

impl Retries {
    /// Notes a failure and reports it, once for each message.
    pub(super) fn failed(&mut self, error: &FolderError) {
        let message = error.to_string();
        let before = self.failed.take();
        let pause = before.as_ref().map_or(PAUSE_MIN, |failed| (failed.pause * 2).min(PAUSE_MAX));
        if before.is_none_or(|failed| failed.message != message) {
            tracing::warn!(
                error = message,
                "the catalogue folder cannot be brought up to date; it is tried again, after longer \
                 and longer pauses up to a minute"
            );
        }
        self.failed = Some(Failed { message, pause, again: Instant::now() + pause });
    }

    /// Notes that folder and catalogue agree again.
    pub(super) fn succeeded(&mut self) {
        if self.failed.take().is_some() {
            tracing::info!("the catalogue folder is up to date again");
        }
    }

    /// Whether the next attempt has to wait.
    pub(super) fn is_paused(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| Instant::now() < failed.again)
    }

    /// Waits until the next attempt is due; for ever if nothing failed.
    pub(super) async fn due(&self) {
        match &self.failed {
            Some(failed) => tokio::time::sleep_until(failed.again).await,
            None => std::future::pending().await,
        }
    }
}

/// Waits until no event came for a moment.
pub(super) async fn quiet(woken: &mut mpsc::Receiver<()>) {
    let settled =
        async { while let Ok(Some(())) = tokio::time::timeout(QUIET, woken.recv()).await {} };
    // A folder that never rests is read anyway.
    let _ = tokio::time::timeout(RESTLESS_MAX, settled).await;
}

pub(super) fn watch(
    dir: &Path,
    events: mpsc::Sender<()>,
) -> Result<RecommendedWatcher, FolderError> {
    let failed = |error: notify::Error| FolderError::Io {
        path: dir.to_owned(),
        source: std::io::Error::other(error.to_string()),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the folder raises events of its own; only changes count. A full channel already
        // holds a wake-up.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = events.try_send(());
        }
    })
    .map_err(failed)?;
    watcher.watch(dir, RecursiveMode::Recursive).map_err(failed)?;
    Ok(watcher)
}

pub(super) fn fingerprint(files: &BTreeMap<String, Vec<u8>>) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (path, bytes) in files {
        let _ = writeln!(text, "{} {path}", sha256_hex(bytes));
    }
    sha256_hex(text.as_bytes())
}

/// Writes a file beside its place and moves it there: no reader sees half of it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // A full disk keeps the empty or partial file otherwise. The first error is the one to report.
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(failed)
}

pub(super) fn remove(path: &Path, folder: bool) -> Result<(), FolderError> {
    let removed = if folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FolderError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_no_partial_file() {
        let dir = tempfile::tempdir().unwrap();
        // A folder in the file's place: the write succeeds and the rename cannot.
        std::fs::create_dir(dir.path().join("a.yaml")).unwrap();
        std::fs::write(dir.path().join("a.yaml").join("x"), b"x").unwrap();
        write(&dir.path().join("a.yaml"), b"text").unwrap_err();
        let names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["a.yaml"]);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_between_attempts_double_up_to_a_minute() {
        let failure =
            || FolderError::Io { path: "x".into(), source: std::io::ErrorKind::StorageFull.into() };
        let mut retries = Retries::default();
        assert!(!retries.is_paused());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            retries.failed(&failure());
            assert!(retries.is_paused());
            let begun = Instant::now();
            retries.due().await;
            pauses.push(begun.elapsed().as_secs());
            assert!(!retries.is_paused());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        retries.succeeded();
        retries.failed(&failure());
        assert_eq!(retries.failed.as_ref().map(|failed| failed.pause), Some(PAUSE_MIN));
    }
}
