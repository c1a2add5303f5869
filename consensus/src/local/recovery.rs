//! Opening: snapshot, then the commands behind it, then a judgement of what the file's end is.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Folder, LOCAL, damaged, io, sync_folder, write_whole};
use super::frames::{self, FILE_HEAD_BYTES, Read};
use super::mark::Mark;
use super::{LocalLogOptions, LocalLogRecovery, snapshots};
use crate::catalogue::Catalogue;
use crate::error::LogError;
use crate::log::LogStatus;
use crate::validate::NoValidation;

/// An open log: what the writer goes on from.
pub struct State {
    pub folder: Folder,
    pub mark: Mark,
    pub catalogue: Arc<Catalogue>,
    /// The file that is appended to, and where it lies.
    pub file: File,
    pub file_path: PathBuf,
    /// Its length in bytes.
    pub file_bytes: u64,
    /// Index of the last command.
    pub index: u64,
    /// Index of the newest snapshot.
    pub snapshot_index: u64,
}

impl State {
    pub fn status(&self) -> LogStatus {
        LogStatus {
            last_index: self.index,
            revision: self.catalogue.revision(),
            snapshot_index: self.snapshot_index,
            log_bytes: self.file_bytes,
            ..LogStatus::default()
        }
    }
}

/// Name of the log file whose first command has an index.
pub fn log_name(first: u64) -> String {
    format!("log-{first:020}.vlog")
}

/// Opens a folder.
pub fn open(path: &Path, options: &LocalLogOptions) -> Result<(State, LocalLogRecovery), LogError> {
    let folder = Folder::open(path, LOCAL)?;
    if folder.is_new {
        make(&folder)?;
    }
    let mark = Mark::open(&folder.path)?;
    let mut recovery = LocalLogRecovery::default();
    let (mut index, mut catalogue) = newest_snapshot(&folder, options, &mut recovery)?;
    let snapshot_index = index;
    let logs = folder.numbered("log", ".vlog")?;
    let Some((_, last_path)) = logs.last().cloned() else {
        return Err(damaged(&folder.path, 0, "there is no log file"));
    };
    let mut file_bytes = 0;
    for (position, (first, log)) in logs.iter().enumerate() {
        if *first > index + 1 {
            let detail = format!("commands {} to {} are missing before it", index + 1, first - 1);
            return Err(damaged(log, 0, detail));
        }
        let is_last = position + 1 == logs.len();
        let mut replay = Replay { catalogue, index, recovery: &mut recovery };
        file_bytes = replay.file(log, *first, is_last, mark.index)?;
        (catalogue, index) = (replay.catalogue, replay.index);
    }
    if index < mark.index {
        let detail =
            format!("commands {} to {} were acknowledged and are gone", index + 1, mark.index);
        return Err(damaged(&last_path, file_bytes, detail));
    }
    let file = OpenOptions::new()
        .append(true)
        .open(&last_path)
        .map_err(|source| io(&last_path, source))?;
    let catalogue = Arc::new(catalogue);
    let mut state = State {
        folder,
        mark,
        catalogue,
        file,
        file_path: last_path,
        file_bytes,
        index,
        snapshot_index,
    };
    settle(&mut state)?;
    Ok((state, recovery))
}

/// Makes a new folder: log, mark, and the format last.
fn make(folder: &Folder) -> Result<(), LogError> {
    let logs = folder.numbered("log", ".vlog")?;
    let holds_commands = |(_, path): &(u64, PathBuf)| {
        fs::metadata(path).map(|data| data.len() > FILE_HEAD_BYTES as u64).unwrap_or(true)
    };
    if logs.iter().any(holds_commands) {
        return Err(damaged(&folder.path.join("format"), 0, "absent beside a log with commands"));
    }
    write_whole(&folder.path, &log_name(1), &frames::file_head())?;
    Mark::create(&folder.path)?;
    folder.finish_new()
}

/// Cuts what was torn, and makes durable what was read: it may have been written but not synced.
fn settle(state: &mut State) -> Result<(), LogError> {
    state
        .file
        .set_len(state.file_bytes)
        .and_then(|()| state.file.sync_all())
        .map_err(|source| io(&state.file_path, source))?;
    sync_folder(&state.folder.path)?;
    if state.mark.index != state.index {
        state.mark.advance(state.index)?;
    }
    Ok(())
}

fn newest_snapshot(
    folder: &Folder,
    options: &LocalLogOptions,
    recovery: &mut LocalLogRecovery,
) -> Result<(u64, Catalogue), LogError> {
    for (index, path) in folder.numbered("snapshot", ".vsnap")?.into_iter().rev() {
        match snapshots::read(&path, index)? {
            Ok(catalogue) => {
                recovery.snapshot_index = index;
                return Ok((index, catalogue));
            }
            Err(detail) => recovery.damaged_snapshots.push(format!("{}: {detail}", path.display())),
        }
    }
    Ok((0, Catalogue::new(options.limits)))
}

/// Applies the commands of log files, one after another.
struct Replay<'recovery> {
    catalogue: Catalogue,
    index: u64,
    recovery: &'recovery mut LocalLogRecovery,
}

impl Replay<'_> {
    /// Reads one file; gives the length of its whole part.
    fn file(
        &mut self,
        path: &Path,
        first: u64,
        is_last: bool,
        marked: u64,
    ) -> Result<u64, LogError> {
        let bytes = fs::read(path).map_err(|source| io(path, source))?;
        if !bytes.starts_with(&frames::file_head()) {
            return Err(damaged(path, 0, "the head of the file is not that of a log"));
        }
        let (mut at, mut expected) = (FILE_HEAD_BYTES, first);
        loop {
            match frames::read_frame(&bytes, at) {
                Read::End => return Ok(at as u64),
                Read::Frame { index, .. } if index != expected => {
                    let detail = format!("command {index} stands where {expected} should");
                    return Err(damaged(path, at as u64, detail));
                }
                Read::Frame { index, command, end } => {
                    if index > self.index {
                        self.apply(path, at, index, &command)?;
                    }
                    (at, expected) = (end, expected + 1);
                }
                // Behind the mark nothing was acknowledged: a write that did not come to its end.
                Read::Bad(_) if is_last && expected > marked => {
                    self.recovery.torn_bytes = (bytes.len() - at) as u64;
                    return Ok(at as u64);
                }
                Read::Bad(detail) => return Err(damaged(path, at as u64, detail)),
            }
        }
    }

    fn apply(
        &mut self,
        path: &Path,
        at: usize,
        index: u64,
        command: &crate::Command,
    ) -> Result<(), LogError> {
        // It was validated before it was appended; a later program's stricter rules do not undo it.
        let next =
            crate::apply(&self.catalogue, command, index, &NoValidation).map_err(|refused| {
                damaged(path, at as u64, format!("command {index} cannot be applied: {refused}"))
            })?;
        self.catalogue = next.catalogue;
        self.index = index;
        self.recovery.commands += 1;
        Ok(())
    }
}
