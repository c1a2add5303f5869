//! Loss of power and of nodes: what the disk has, a backup has, or one survivor has.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use verdict_config::Code;
use verdict_consensus::{
    EngineBatch, FolderIdentity, HistoryQuery, Log, LogEngine, MemberAnswer, MemberCommand,
    REVISION_STEP, RaftLog, RaftLogOptions, check_backup, recover_survivor, restore_backup,
};

use super::cluster::{Cluster, attributes, bootstrap, open_alone, options, propose, until};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A disk that keeps what is written apart from what would survive a loss of power.
#[derive(Default)]
struct Disk {
    volatile: Mutex<Entries>,
    durable: Mutex<Entries>,
    /// Syncs still to come until the power goes.
    syncs_left: AtomicU64,
    /// Says that it has synced, and has not.
    lies: AtomicBool,
}

/// The disk as an engine; the test keeps the disk.
struct DiskEngine(Arc<Disk>);

impl LogEngine for DiskEngine {
    fn write(&self, batch: EngineBatch) -> io::Result<()> {
        let mut volatile = self.0.volatile.lock();
        for (key, value) in batch.writes {
            match value {
                Some(value) => volatile.insert(key, value),
                None => volatile.remove(&key),
            };
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.volatile.lock().get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> io::Result<()> {
        let range = from.to_vec()..to.to_vec();
        self.0.volatile.lock().range(range).all(|(key, value)| visit(key, value));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let left = self
            .0
            .syncs_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(io::Error::other("the power is gone"));
        }
        if !self.0.lies.load(Ordering::SeqCst) {
            *self.0.durable.lock() = self.0.volatile.lock().clone();
        }
        Ok(())
    }
}

impl Disk {
    fn options(self: &Arc<Self>) -> RaftLogOptions {
        let disk = Arc::clone(self);
        let engine = move |_: &Path| -> io::Result<Arc<dyn LogEngine>> {
            Ok(Arc::new(DiskEngine(Arc::clone(&disk))))
        };
        RaftLogOptions { engine: Arc::new(engine), ..options() }
    }

    /// The power comes back: what was not durable is gone.
    fn restart(&self, syncs: u64) {
        *self.volatile.lock() = self.durable.lock().clone();
        self.syncs_left.store(syncs, Ordering::SeqCst);
    }
}

/// Writers until the power goes; gives the highest revision that was acknowledged.
async fn write_until_dark(log: &RaftLog, from: i64) -> u64 {
    let writers = (0..8).map(|writer| async move {
        let mut highest = 0;
        for step in 0.. {
            match propose(log, from + step * 8 + writer).await {
                Ok(applied) => highest = highest.max(applied.revision),
                Err(_) => break,
            }
        }
        highest
    });
    futures::future::join_all(writers).await.into_iter().max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_of_power_takes_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("raft");
    bootstrap(&folder);
    let disk = Arc::new(Disk::default());
    let mut acknowledged = 0;
    for (round, syncs) in [40, 3, 17, 5, 29, 4, 60].into_iter().enumerate() {
        disk.restart(syncs);
        let log = open_alone(&folder, disk.options()).unwrap();
        // The votes and the blank entry of a new start may take what syncs there were.
        assert!(log.catalogue().revision() >= acknowledged || log.status().failed.is_some());
        let highest = write_until_dark(&log, 1_000 * (1 + i64::try_from(round).unwrap())).await;
        acknowledged = acknowledged.max(highest);
    }
    disk.restart(u64::MAX);
    let log = open_alone(&folder, disk.options()).unwrap();
    assert!(acknowledged > 50);
    assert!(log.catalogue().revision() >= acknowledged, "{acknowledged}");
}

/// The check above can fail: a disk that acknowledges before it has synced is caught, by the mark.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("raft");
    bootstrap(&folder);
    let disk = Arc::new(Disk::default());
    disk.restart(u64::MAX);
    let log = open_alone(&folder, disk.options()).unwrap();
    assert_eq!(propose(&log, 1).await.unwrap().revision, 1);
    disk.lies.store(true, Ordering::SeqCst);
    for number in 2..=20 {
        propose(&log, number).await.unwrap();
    }
    log.drain().await;
    drop(log);
    disk.restart(u64::MAX);
    let error = open_alone(&folder, disk.options()).err().unwrap();
    assert_eq!(error.code(), Code::StateGap, "{error}");
}

fn renamed(node_id: u64) -> FolderIdentity {
    FolderIdentity { cluster_id: "again".to_owned(), node_id }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_under_another_name() {
    let cluster = Cluster::of(3, options()).await;
    for number in 1..=20 {
        propose(&cluster.nodes[&2], number).await.unwrap();
    }
    let hash = cluster.agree(20).await;
    let backup = cluster.dir.path().join("backup");
    let info = cluster.nodes[&3].backup(&backup).await.unwrap();
    assert_eq!((info.revision, info.state_hash), (20, hash));
    assert_eq!(check_backup(&backup).unwrap(), info);
    // Under the old name it is refused, damaged as well.
    let folder = cluster.dir.path().join("restored");
    let same = FolderIdentity { cluster_id: info.cluster_id.clone(), node_id: 1 };
    let refused = restore_backup(&backup, &folder, &same, attributes(1)).unwrap_err();
    assert_eq!(refused.code(), Code::StateForeign);
    restore_backup(&backup, &folder, &renamed(1), attributes(1)).unwrap();
    let log = open_alone(&folder, options()).unwrap();
    assert_eq!(log.catalogue().state_hash(), hash);
    assert_eq!(propose(&log, 20).await.unwrap().revision, 20);
    // The old cluster may have gone on to 21 and later: none of its revisions is given twice.
    assert_eq!(propose(&log, 21).await.unwrap().revision, REVISION_STEP);
    assert_eq!(propose(&log, 22).await.unwrap().revision, REVISION_STEP + 1);
    let refused = log.catalogue().check_made(21).unwrap_err();
    assert_eq!(refused.code(), Code::RevisionForeign);
    let refused = log.catalogue().at_revision(21).unwrap_err();
    assert_eq!(refused.code(), Code::RevisionForeign);
    assert!(log.catalogue().at_revision(20).is_ok());
    let cursor = |cursor: &str| HistoryQuery { cursor: Some(cursor.into()), ..Default::default() };
    assert_eq!(log.history(&cursor("21.0")).unwrap_err().code(), Code::RevisionForeign);
    assert_eq!(log.history(&cursor("20.0")).unwrap().entries.len(), 19);
    // The state of a node that opens the folder again knows the gap as well, by a snapshot.
    log.snapshot().await.unwrap();
    log.drain().await;
    let log = open_alone(&folder, options()).unwrap();
    assert!(log.catalogue().check_made(21).is_err() && log.catalogue().check_made(20).is_ok());
    // Ids that the old cluster gave are not given again.
    let allocate = MemberCommand::Allocate { request_id: "a".to_owned() };
    assert_eq!(log.change_members(allocate).await, Ok(MemberAnswer::Allocated(4)));
    let mut bytes = std::fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&backup, bytes).unwrap();
    assert_eq!(check_backup(&backup).unwrap_err().code(), Code::StateDamaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_survivor_begins_again() {
    let mut cluster = Cluster::of(3, options()).await;
    for number in 1..=20 {
        propose(&cluster.nodes[&1], number).await.unwrap();
    }
    let hash = cluster.agree(20).await;
    [1, 3].into_iter().for_each(|id| cluster.kill(id));
    let survivor = cluster.nodes.remove(&2).unwrap();
    assert_eq!(survivor.catalogue().revision(), 20);
    survivor.drain().await;
    let (from, to) = (cluster.folder(2), cluster.dir.path().join("again"));
    let same = recover_survivor(&from, &to, "test", &options()).unwrap_err();
    assert_eq!(same.code(), Code::StateForeign);
    let report = recover_survivor(&from, &to, "again", &options()).unwrap();
    assert_eq!((report.revision, report.left_behind), (20, vec![1, 3]));
    let log = open_alone(&to, options()).unwrap();
    assert_eq!(log.catalogue().state_hash(), hash);
    assert_eq!(log.node_id(), 2);
    until("it is the only member", || log.members().members.len() == 1).await;
    assert_eq!(propose(&log, 21).await.unwrap().revision, REVISION_STEP);
}
