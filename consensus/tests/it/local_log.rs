//! The local log on a real folder: durable, ordered, recovered or refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use verdict_config::{Code, TimestampMs};
use verdict_consensus::{
    Author, ChangeSet, LocalLog, LocalLogOptions, LocalLogRecovery, Log, LogError, ProposeError,
};

use super::support::setting;

pub fn options() -> LocalLogOptions {
    let now = AtomicI64::new(1_000);
    LocalLogOptions::new(move || TimestampMs(now.fetch_add(1, Ordering::Relaxed)))
}

pub fn open(folder: &Path) -> Result<(LocalLog, LocalLogRecovery), LogError> {
    LocalLog::open(folder, options())
}

async fn propose(log: &LocalLog, number: i64) -> Result<u64, ProposeError> {
    let change = setting(&format!("s{}", number % 50), number);
    let set = ChangeSet::new(format!("r{number}"), "w", vec![change]);
    log.propose(set, Author::named("ann")).await.map(|applied| applied.revision)
}

fn files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (log, recovery) = open(folder.path()).unwrap();
    assert_eq!(recovery, LocalLogRecovery::default());
    let mut watch = log.watch();
    for number in 1..=20 {
        assert_eq!(propose(&log, number).await, Ok(number.unsigned_abs()));
    }
    assert!(watch.has_changed().unwrap());
    assert_eq!(watch.borrow_and_update().revision(), 20);
    let hash = log.catalogue().state_hash();
    assert_eq!(open(folder.path()).err().map(|error| error.code()), Some(Code::StateLocked));
    log.drain().await;
    assert_eq!(propose(&log, 21).await, Err(ProposeError::Draining));
    let (log, recovery) = open(folder.path()).unwrap();
    assert_eq!((recovery.commands, recovery.torn_bytes), (20, 0));
    assert_eq!(log.catalogue().state_hash(), hash);
    // A retry across the restart.
    assert_eq!(propose(&log, 7).await, Ok(7));
    assert_eq!(log.status().last_index, 20);
    assert_eq!(propose(&log, 21).await, Ok(21));
}

#[tokio::test]
async fn concurrent_proposals_share_syncs_and_each_is_applied_once() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path()).unwrap();
    let log = Arc::new(log);
    let tasks: tokio::task::JoinSet<_> = (0..64)
        .map(|task| {
            let log = Arc::clone(&log);
            async move {
                let mut revisions = Vec::new();
                for step in 0..5 {
                    let number = task * 5 + step;
                    let revision = propose(&log, number).await.unwrap();
                    assert_eq!(propose(&log, number).await, Ok(revision));
                    revisions.push(revision);
                }
                revisions
            }
        })
        .collect();
    let mut revisions: Vec<u64> = tasks.join_all().await.concat();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=320).collect::<Vec<_>>());
    let status = log.status();
    assert_eq!((status.revision, status.applied, status.waiting), (320, 320, 0));
}

#[tokio::test]
async fn refusals_leave_nothing_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path()).unwrap();
    propose(&log, 1).await.unwrap();
    let conflict = ChangeSet::new("x", "w", vec![setting("s1", 9).expecting(7)]);
    let refused = log.propose(conflict, Author::default()).await.unwrap_err();
    assert_eq!((refused.code(), refused.is_retryable()), (Code::ChangeConflict, false));
    let empty = ChangeSet::new("y", "w", Vec::new());
    let refused = log.propose(empty, Author::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ChangeInvalid);
    assert_eq!((log.status().last_index, log.status().refused), (1, 1));
}

#[tokio::test]
async fn snapshots_bound_the_log_and_the_one_before_stands_in() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let options = LocalLogOptions { snapshot_commands: 10, ..options() };
        LocalLog::open(folder.path(), options)
    };
    let (log, _) = open().unwrap();
    for number in 1..=65 {
        propose(&log, number).await.unwrap();
    }
    let hash = log.catalogue().state_hash();
    drop(log);
    assert_eq!(files(folder.path(), "snapshot").len(), 2);
    assert_eq!(files(folder.path(), "log").len(), 2);
    let (log, recovery) = open().unwrap();
    assert_eq!((recovery.snapshot_index, recovery.commands), (60, 5));
    assert_eq!(log.catalogue().state_hash(), hash);
    assert_eq!(log.catalogue().history_len(), 65);
    drop(log);
    // The newest snapshot is damaged: the one before and the commands behind it make up for it.
    let newest = files(folder.path(), "snapshot").pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let (log, recovery) = open().unwrap();
    assert_eq!((recovery.snapshot_index, recovery.commands), (50, 15));
    assert_eq!(recovery.damaged_snapshots.len(), 1);
    assert_eq!(log.catalogue().state_hash(), hash);
    drop(log);
    // Without both there is a gap.
    for snapshot in files(folder.path(), "snapshot") {
        fs::remove_file(snapshot).unwrap();
    }
    assert_eq!(open().err().map(|error| error.code()), Some(Code::StateDamaged));
}

/// A log of three commands, closed; gives its file and the length of one command's frame.
async fn three_commands(folder: &Path) -> (PathBuf, Vec<u8>, usize) {
    let (log, _) = open(folder).unwrap();
    for number in 1..=3 {
        propose(&log, number).await.unwrap();
    }
    drop(log);
    let path = files(folder, "log").pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let frame = (bytes.len() - 16) / 3;
    (path, bytes, frame)
}

#[tokio::test]
async fn damage_where_changes_were_acknowledged_refuses_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (path, whole, frame) = three_commands(folder.path()).await;
    let check = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let code = open(folder.path()).err().map(|error| error.code());
        assert_eq!(code, Some(Code::StateDamaged), "{what}");
    };
    for at in (0..whole.len()).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        check(&damaged, &format!("bit of byte {at} flipped"));
    }
    // A cut between frames reads well, and is noticed by the mark.
    check(&whole[..whole.len() - frame], "cut between frames");
    check(&whole[..whole.len() - 3], "cut within a frame");
    fs::write(&path, &whole).unwrap();
    let (log, _) = open(folder.path()).unwrap();
    assert_eq!(log.catalogue().revision(), 3);
}

#[tokio::test]
async fn an_unacknowledged_end_is_cut_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, whole, frame) = three_commands(folder.path()).await;
    // A fourth command whose write was torn: any part of a frame behind the mark.
    let fourth = &whole[whole.len() - frame..];
    for length in 1..frame {
        fs::write(&path, [&whole, &fourth[..length]].concat()).unwrap();
        let (log, recovery) = open(folder.path()).unwrap();
        assert_eq!((recovery.commands, recovery.torn_bytes), (3, length as u64));
        drop(log);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    let (log, _) = open(folder.path()).unwrap();
    assert_eq!(propose(&log, 4).await, Ok(4));
}

#[tokio::test]
async fn a_torn_mark_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    three_commands(folder.path()).await;
    let mark = folder.path().join("mark");
    let whole = fs::read(&mark).unwrap();
    for slot in [0, 512] {
        let mut torn = whole.clone();
        torn[slot..slot + 20].fill(0xaa);
        fs::write(&mark, &torn).unwrap();
        let (log, _) = open(folder.path()).unwrap();
        assert_eq!(log.catalogue().revision(), 3);
        drop(log);
    }
    fs::write(&mark, vec![0; 1_024]).unwrap();
    assert_eq!(open(folder.path()).err().map(|error| error.code()), Some(Code::StateDamaged));
    fs::remove_file(&mark).unwrap();
    assert_eq!(open(folder.path()).err().map(|error| error.code()), Some(Code::StateDamaged));
}

#[tokio::test]
async fn formats_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    three_commands(folder.path()).await;
    let format = folder.path().join("format");
    let check = |text: &str, expected: Code| {
        fs::write(&format, text).unwrap();
        assert_eq!(open(folder.path()).err().map(|error| error.code()), Some(expected), "{text}");
    };
    check("verdict log 2\n", Code::StateVersion);
    check("nonsense", Code::StateDamaged);
    fs::remove_file(&format).unwrap();
    assert_eq!(open(folder.path()).err().map(|error| error.code()), Some(Code::StateDamaged));
}
