//! Faults under the replicated log: the disk fails, lies, or forgets.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

use verdict_config::{Code, TimestampMs};
use verdict_consensus::{
    Author, EngineBatch, FolderIdentity, HistoryQuery, LocalLog, LocalLogOptions, Log, LogEngine,
    Peer, PeerChannel, PeerFuture, PeerTransport, ProposeError, RaftLogOptions,
    migrate_local_folder, open_sled,
};

use super::cluster::{
    Cluster, attributes, bootstrap, identity, numbered, open_alone, options, propose, until,
};

/// An engine whose writes or syncs fail with an error of the operating system, when told so.
struct Failing {
    inner: Arc<dyn LogEngine>,
    sync_errno: Arc<AtomicI32>,
    write_errno: Arc<AtomicI32>,
}

fn errno(number: &AtomicI32) -> io::Result<()> {
    match number.load(Ordering::SeqCst) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

impl LogEngine for Failing {
    fn write(&self, batch: EngineBatch) -> io::Result<()> {
        errno(&self.write_errno)?;
        self.inner.write(batch)
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.inner.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> io::Result<()> {
        self.inner.scan(from, to, visit)
    }

    fn sync(&self) -> io::Result<()> {
        errno(&self.sync_errno)?;
        self.inner.sync()
    }
}

#[derive(Default, Clone)]
struct Faults {
    sync_errno: Arc<AtomicI32>,
    write_errno: Arc<AtomicI32>,
}

impl Faults {
    fn options(&self) -> RaftLogOptions {
        let (sync_errno, write_errno) =
            (Arc::clone(&self.sync_errno), Arc::clone(&self.write_errno));
        let engine = move |path: &Path| -> io::Result<Arc<dyn LogEngine>> {
            let (sync_errno, write_errno) = (Arc::clone(&sync_errno), Arc::clone(&write_errno));
            Ok(Arc::new(Failing { inner: open_sled(path)?, sync_errno, write_errno }))
        };
        RaftLogOptions { engine: Arc::new(engine), ..options() }
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[tokio::test]
async fn a_failed_sync_or_a_full_disk_ends_the_log() {
    for (on_sync, number) in [(true, EIO), (true, ENOSPC), (false, ENOSPC)] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("raft");
        bootstrap(&folder);
        let faults = Faults::default();
        let log = open_alone(&folder, faults.options()).unwrap();
        for number in 1..=5 {
            propose(&log, number).await.unwrap();
        }
        let fault = if on_sync { &faults.sync_errno } else { &faults.write_errno };
        fault.store(number, Ordering::SeqCst);
        let failed = propose(&log, 6).await.unwrap_err();
        assert_eq!(failed.code(), Code::StorageFailed, "{failed}");
        // It is never tried again, even when the disk would let it.
        fault.store(0, Ordering::SeqCst);
        assert!(matches!(propose(&log, 7).await, Err(ProposeError::Storage(_))));
        until("the log says so", || log.status().failed.is_some()).await;
        assert_eq!(log.catalogue().revision(), 5);
        drop(log);
        // What was acknowledged is there; what was not may be, and is then applied once.
        let log = open_alone(&folder, options()).unwrap();
        assert!((5..=6).contains(&log.catalogue().revision()));
        assert_eq!(propose(&log, 6).await.unwrap().revision, 6);
    }
}

async fn filled(folder: &Path, changes: i64) {
    bootstrap(folder);
    let log = open_alone(folder, options()).unwrap();
    for number in 1..=changes {
        propose(&log, number).await.unwrap();
    }
    log.drain().await;
}

/// Every kind of damage is either noticed, or changes nothing.
#[tokio::test]
async fn a_flipped_bit_refuses_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    filled(&whole, 60).await;
    let path = whole.join("store").join("db");
    let bytes = std::fs::read(&path).unwrap();
    // Where the requests stand, there is an entry; so a bit of it is flipped.
    let needle = b"r5";
    let places: Vec<usize> = bytes
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| *window == needle)
        .map(|(at, _)| at)
        .collect();
    assert!(places.len() > 3, "{places:?}");
    let mut refused = 0;
    for place in places.iter().step_by((places.len() / 8).max(1)) {
        let copy = dir.path().join(format!("copy-{place}"));
        copy_folder(&whole, &copy);
        let file =
            std::fs::File::options().write(true).open(copy.join("store").join("db")).unwrap();
        file.write_all_at(&[bytes[*place] ^ 1], *place as u64).unwrap();
        match open_alone(&copy, options()) {
            Err(error) => {
                let code = error.code();
                assert!([Code::StateDamaged, Code::StateGap].contains(&code), "{code} {error}");
                refused += 1;
            }
            // The bit was in a page that sled no longer reads.
            Ok(log) => assert_eq!(log.catalogue().revision(), 60),
        }
    }
    assert!(refused > 0, "no flipped bit was ever noticed");
}

#[tokio::test]
async fn a_log_that_forgets_its_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (older, newer) = (dir.path().join("older"), dir.path().join("newer"));
    filled(&older, 10).await;
    copy_folder(&older, &newer);
    let log = open_alone(&newer, options()).unwrap();
    for number in 11..=20 {
        propose(&log, number).await.unwrap();
    }
    log.drain().await;
    // The store of before under the mark of now: as if the disk had lost the last syncs.
    std::fs::remove_dir_all(newer.join("store")).unwrap();
    copy_folder(&older.join("store"), &newer.join("store"));
    let error = open_alone(&newer, options()).err().unwrap();
    assert_eq!(error.code(), Code::StateGap, "{error}");
    // Without its store altogether.
    std::fs::remove_dir_all(newer.join("store")).unwrap();
    assert_eq!(open_alone(&newer, options()).err().unwrap().code(), Code::StateGap);
    // Without its snapshot.
    std::fs::remove_dir_all(older.join("snapshots")).unwrap();
    assert_eq!(open_alone(&older, options()).err().unwrap().code(), Code::StateDamaged);
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn the_log_of_a_single_node_becomes_a_cluster_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let (local, raft) = (dir.path().join("log"), dir.path().join("raft"));
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = move || TimestampMs(now.fetch_add(1, Ordering::Relaxed));
    let local_options = LocalLogOptions::new(clock);
    let (log, _) = LocalLog::open(&local, local_options.clone()).unwrap();
    for number in 1..=30 {
        log.propose(numbered(number), Author::named("ann")).await.unwrap();
    }
    let before = log.catalogue();
    log.drain().await;
    drop(log);
    let identity = identity(1);
    assert_eq!(FolderIdentity::read(&raft).unwrap(), None);
    migrate_local_folder(&local, &raft, &identity, attributes(1), &local_options).unwrap();
    assert_eq!(FolderIdentity::read(&raft).unwrap(), Some(identity.clone()));
    let log = open_alone(&raft, options()).unwrap();
    assert_eq!(*log.catalogue(), *before, "catalogue, history and request ids");
    let query = HistoryQuery { limit: 1, ..HistoryQuery::default() };
    assert_eq!(log.history(&query).unwrap().entries[0].head.log_index, 30);
    // It goes on where the other ended.
    let repeated = propose(&log, 12).await.unwrap();
    assert_eq!((repeated.revision, repeated.repeated), (12, true));
    assert_eq!(propose(&log, 31).await.unwrap().revision, 31);
    assert!(log.history(&query).unwrap().entries[0].head.log_index > 30);
    // Nobody writes to the old one by mistake.
    let old = LocalLog::open(&local, local_options.clone()).err().unwrap();
    assert_eq!(old.code(), Code::StateVersion);
    assert!(migrate_local_folder(&local, &raft, &identity, attributes(1), &local_options).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_fails_is_replaced() {
    let mut cluster = Cluster::alone(options());
    let faults = Faults::default();
    let healthy = std::mem::replace(&mut cluster.options, faults.options());
    let sick = cluster.add_learner().await;
    cluster.promote(sick).await;
    cluster.options = healthy;
    let third = cluster.add_learner().await;
    cluster.promote(third).await;
    // The node with the bad disk takes the lead; a vote may be refused while the lease of the
    // leader before lasts.
    // Standing too often makes a new term before the one before it is decided.
    for _ in 0..10 {
        cluster.nodes[&sick].elect().await.unwrap();
        let elected = async {
            while cluster.nodes[&1].leader() != Some(sick) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(2), elected).await.is_ok() {
            break;
        }
    }
    assert_eq!(cluster.nodes[&1].leader(), Some(sick));
    let last = propose(&cluster.nodes[&third], 1).await.unwrap().revision;
    faults.sync_errno.store(EIO, Ordering::SeqCst);
    // Whoever asks elsewhere does not notice; the node itself says what it is.
    assert_eq!(propose(&cluster.nodes[&third], 2).await.unwrap().revision, last + 1);
    until("the sick node says so", || cluster.nodes[&sick].status().failed.is_some()).await;
    let failed = propose(&cluster.nodes[&sick], 3).await.unwrap_err();
    assert_eq!(failed.code(), Code::StorageFailed);
    cluster.kill(sick);
    cluster.agree(last + 1).await;
    // With a disk that works it comes back and has everything.
    cluster.open(sick).unwrap();
    cluster.agree(last + 1).await;
}

/// Flips a bit of the first pieces of snapshots that go out.
struct Corrupting {
    inner: Arc<dyn PeerTransport>,
    left: Arc<AtomicI32>,
}

impl PeerTransport for Corrupting {
    fn call(
        &self,
        peer: Peer,
        channel: PeerChannel,
        mut request: Vec<u8>,
        timeout: std::time::Duration,
    ) -> PeerFuture<'_> {
        if channel == PeerChannel::Snapshot
            && self.left.fetch_sub(1, Ordering::SeqCst) > 0
            && let Some(last) = request.last_mut()
        {
            *last ^= 1;
        }
        self.inner.call(peer, channel, request, timeout)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_arrives_damaged_is_sent_again() {
    let mut cluster = Cluster::alone(options());
    cluster.kill(1);
    let left = Arc::new(AtomicI32::new(2));
    let counted = Arc::clone(&left);
    cluster.wrap =
        Some(Arc::new(move |inner| Arc::new(Corrupting { inner, left: Arc::clone(&counted) })));
    cluster.open(1).unwrap();
    for number in 1..=10 {
        propose(&cluster.nodes[&1], number).await.unwrap();
    }
    // A new node has to be given the first state as a snapshot.
    let second = cluster.add_learner().await;
    cluster.agree(10).await;
    assert!(left.load(Ordering::SeqCst) < 0, "it was sent more than twice");
    assert_eq!(cluster.nodes[&second].status().failed, None);
}
