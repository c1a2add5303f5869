//! The folder on the disk: watching it, waiting until it is quiet, writing and removing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use verdict_config::model::sha256_hex;

use crate::catalogue_dir::FolderError;

/// How long the folder must be quiet before it is read: editors save in several steps.
const QUIET: Duration = Duration::from_millis(80);

/// How long a restless folder is waited for at most.
const RESTLESS_MAX: Duration = Duration::from_millis(1_000);

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
    std::fs::write(&partial, bytes).map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
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
