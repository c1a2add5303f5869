//! The state machine as openraft drives it.
//!
//! ```text
//!   start:  newest whole snapshot ─> entries behind it, up to `committed` ─> ready
//!   apply:  Machine::apply (pure) ─> watch<Arc<Catalogue>>, watch<applied index>
//!   every N entries: Machine ─> file (write, sync, rename, sync folder) ─> log is purged
//! ```
//!
//! The state lives in memory; what is durable is the log and the snapshot before it. Writing each
//! applied entry to a store once more would double the bytes and syncs of every change, and the
//! catalogue is needed whole in memory anyway. The price is a replay at start, which the snapshot
//! policy bounds: 10,000 entries take a fraction of a second.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{AnyError, OptionalSend, RaftSnapshotBuilder, SnapshotMeta, StorageIOError};
use parking_lot::Mutex;
use tokio::sync::watch;
use verdict_config::Code;

use super::bodies::{self, ApplyError, Bodies, BodyStore};
use super::machine::Machine;
use super::prepared::Prepared;
use super::snapshot_file::{self, SnapshotFile};
use super::steps::{Probe, Step};
use super::types::{
    Entry, EntryReply, LogId, NodeAttributes, NodeId, StorageError, StoredMembership, TypeConfig,
};
use crate::catalogue::Catalogue;
use crate::command::StoredBody;
use crate::error::LogError;
use crate::local::folder::{damaged, io as io_error, numbered};

/// Between two looks for a body that is missing; it doubles.
const FETCH_PAUSE_MIN: Duration = Duration::from_millis(100);
const FETCH_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Snapshots that are kept: one behind the newest, should that be damaged.
const SNAPSHOTS_KEPT: usize = 2;

type Meta = SnapshotMeta<NodeId, NodeAttributes>;

/// What the state machine shows to others.
pub struct Shared {
    folder: PathBuf,
    machine: Mutex<Machine>,
    /// The entry that this node, as a leader, evaluated and proposed.
    prepared: Mutex<Option<Prepared>>,
    current: Mutex<Option<(Meta, SnapshotFile)>>,
    catalogues: watch::Sender<Arc<Catalogue>>,
    /// Index of the last applied entry.
    applied: watch::Sender<u64>,
    /// Index of the entry that the applied members are from.
    memberships: watch::Sender<u64>,
    incoming: AtomicU64,
    /// The body without which the next entry cannot be applied.
    waits_for: Mutex<Option<String>>,
    /// Bytes of entries applied since the newest snapshot.
    pub bytes_since_snapshot: AtomicU64,
    /// Change sets applied since then.
    pub changes_since_snapshot: AtomicU64,
    pub snapshot_bytes: AtomicU64,
    /// Index of the snapshot before the newest one; 0 if there is none.
    older_snapshot: AtomicU64,
    /// Snapshots that were found corrupted when the log was opened.
    corrupted: u64,
    /// The version of commands that was met and is not known; 0 if none was.
    newer_met: AtomicU16,
    /// The probe, and the highest version of commands that this program knows.
    program: OnceLock<(Probe, u16)>,
}

/// The state machine; openraft owns one.
pub struct StateMachine {
    shared: Arc<Shared>,
    bodies: Option<Arc<dyn BodyStore>>,
}

impl StateMachine {
    /// From here on bodies are found there.
    pub fn with_bodies(self, bodies: Option<Arc<dyn BodyStore>>) -> Self {
        Self { bodies, ..self }
    }

    /// Finds bodies that an entry names, here or at other nodes; waits until all are found, because
    /// without them this node can go no further.
    async fn bodies_of(&self, wanted: &BTreeSet<StoredBody>) -> Bodies {
        let mut pause = FETCH_PAUSE_MIN;
        loop {
            let (store, looked_for) = (self.bodies.clone(), wanted.clone());
            let finding = move || bodies::find(store.as_ref(), &looked_for, true);
            let found = tokio::task::spawn_blocking(finding).await.unwrap_or_default();
            let missing = wanted.iter().find(|body| !found.contains_key(body));
            let text = missing.map(|body| {
                format!("the body {} of {} bytes has to be fetched", body.hash, body.bytes)
            });
            let Some(waits_for) = text else {
                *self.shared.waits_for.lock() = None;
                return found;
            };
            tracing::warn!(waits_for, "an entry cannot be applied yet");
            *self.shared.waits_for.lock() = Some(waits_for);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(FETCH_PAUSE_MAX);
        }
    }
}

/// What a program is told that meets commands which it does not know.
fn newer_commands(version: u16, known: u16) -> String {
    format!(
        "the cluster uses commands of version {version}; this program knows versions up to {known}: \
         start the newer program"
    )
}

/// openraft would not notice a panic, and wait for ever: it is a failure like any other.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "a panic while entries were applied")
}

fn apply_error(log_id: Option<LogId>, error: impl std::fmt::Display) -> StorageError {
    tracing::error!(?log_id, %error, "an entry cannot be applied by this program");
    let error = AnyError::error(error);
    match log_id {
        Some(log_id) => StorageIOError::apply(log_id, error).into(),
        None => StorageIOError::write_state_machine(error).into(),
    }
}

fn meta_of(machine: &Machine, hash: &str) -> Meta {
    let at = machine.last_applied;
    let term = at.map_or(0, |id| id.leader_id.term);
    let index = at.map_or(0, |id| id.index);
    Meta {
        last_log_id: at,
        last_membership: machine.members.clone(),
        snapshot_id: format!("{term}-{index}-{hash}"),
    }
}

fn machine_index(machine: &Machine) -> u64 {
    machine.last_applied.map_or(0, |id| id.index)
}

fn fingerprint(bytes: &[u8]) -> String {
    hex::encode(bytes.get(8..16).unwrap_or_default())
}

fn snapshot_error(error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::write_snapshot(None, AnyError::new(error)).into()
}

impl Shared {
    /// Says which probe is called, and which commands this program knows: all, if it is not said.
    pub fn set_program(&self, probe: Probe, version: u16) {
        // It is said once, before the consensus starts.
        let _ = self.program.set((probe, version));
    }

    fn step(&self, step: Step) {
        if let Some((probe, _)) = self.program.get() {
            probe(step);
        }
    }

    /// The version of commands that this program met and does not know.
    pub fn newer_met(&self) -> Option<u16> {
        Some(self.newer_met.load(Ordering::SeqCst)).filter(|version| *version > 0)
    }

    fn known_version(&self) -> u16 {
        self.program.get().map_or(u16::MAX, |(_, version)| *version)
    }

    /// The catalogue that is applied.
    pub fn watch(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogues.subscribe()
    }

    /// Index of the last applied entry, as it grows.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Index of the entry that the applied members are from, as it changes.
    pub fn memberships(&self) -> watch::Receiver<u64> {
        self.memberships.subscribe()
    }

    /// Whether a node was a member and is none any more, as far as this node has applied the log.
    pub fn is_removed(&self, node_id: NodeId) -> bool {
        self.machine.lock().is_removed(node_id)
    }

    /// The voters of the applied members.
    pub fn committed_voters(&self) -> BTreeSet<NodeId> {
        self.machine.lock().members.membership().voter_ids().collect()
    }

    /// The whole state as it is.
    pub fn machine(&self) -> Machine {
        self.machine.lock().clone()
    }

    /// The catalogue that is applied, and the place of the entry that made it.
    pub fn applied_catalogue(&self) -> (Arc<Catalogue>, u64) {
        let machine = self.machine.lock();
        (Arc::clone(&machine.catalogue), machine.last_applied.map_or(0, |id| id.index))
    }

    /// Keeps what was found for an entry that is about to be proposed; `None` once it is answered.
    pub fn prepare(&self, prepared: Option<Prepared>) {
        *self.prepared.lock() = prepared;
    }

    fn prepared_for(&self, entry: &Entry, machine: &Machine) -> Option<Arc<Catalogue>> {
        self.prepared.lock().as_ref()?.for_entry(entry, &machine.catalogue)
    }

    /// Term of the last applied entry.
    pub fn applied_term(&self) -> u64 {
        self.machine.lock().last_applied.map_or(0, |id| id.leader_id.term)
    }

    /// Commands up to this version may be used.
    pub fn version(&self) -> u16 {
        self.machine.lock().cluster.version
    }

    /// Place of the last applied entry.
    pub fn last_applied(&self) -> Option<LogId> {
        self.machine.lock().last_applied
    }

    /// What this node waits for with the next entry, in a sentence.
    pub fn waits_for(&self) -> Option<String> {
        self.waits_for.lock().clone()
    }

    /// Where the next snapshot is received.
    pub fn incoming(&self) -> std::io::Result<SnapshotFile> {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        SnapshotFile::create(&self.folder.join(format!("incoming-{number}.part")))
    }

    fn publish(&self, machine: &Machine) {
        self.catalogues.send_if_modified(|shown| {
            let newer = !Arc::ptr_eq(shown, &machine.catalogue);
            if newer {
                *shown = Arc::clone(&machine.catalogue);
            }
            newer
        });
        self.applied.send_replace(machine.last_applied.map_or(0, |id| id.index));
        let members = machine.members.log_id().map_or(0, |id| id.index);
        self.memberships.send_if_modified(|shown| {
            let other = *shown != members;
            *shown = members;
            other
        });
    }

    /// Puts the snapshot of a state that is further than this one into its place on the disk, to be
    /// found at the next start. What it holds is committed, so that is safe whatever follows.
    pub fn stage(&self, machine: &Machine, bytes: &[u8]) -> Result<(), LogError> {
        let index = machine.last_applied.map_or(0, |id| id.index);
        if index > *self.applied.borrow() {
            snapshot_file::write(&self.folder, index, bytes)?;
        }
        Ok(())
    }

    /// Writes a state as the newest snapshot and lets go of older ones.
    fn keep(&self, machine: &Machine, bytes: &[u8]) -> Result<(Meta, SnapshotFile), LogError> {
        let index = machine.last_applied.map_or(0, |id| id.index);
        let file = snapshot_file::write(&self.folder, index, bytes)?;
        let kept = (meta_of(machine, &fingerprint(bytes)), file);
        {
            let mut current = self.current.lock();
            let newer = current
                .as_ref()
                .is_none_or(|(meta, _)| meta.last_log_id.map(|id| id.index) <= Some(index));
            if newer {
                *current = Some(kept.clone());
            }
        }
        self.bytes_since_snapshot.store(0, Ordering::Relaxed);
        self.changes_since_snapshot.store(0, Ordering::Relaxed);
        self.snapshot_bytes.store(kept.1.bytes, Ordering::Relaxed);
        let mut older = numbered(&self.folder, "snapshot", ".vraft")?;
        self.older_snapshot.store(before_newest(&older), Ordering::SeqCst);
        older.truncate(older.len().saturating_sub(SNAPSHOTS_KEPT));
        let mut copies = numbered(&self.folder, snapshot_file::COPY, ".vraft")?;
        copies.retain(|(copied, _)| *copied < index);
        for (_, path) in older.into_iter().chain(copies) {
            fs::remove_file(&path).map_err(|source| io_error(&path, source))?;
        }
        Ok(kept)
    }

    /// Index of the snapshot before the newest one: the log behind it is kept.
    pub fn older_snapshot(&self) -> u64 {
        self.older_snapshot.load(Ordering::SeqCst)
    }

    /// Snapshots that were found corrupted when the log was opened.
    pub fn corrupted_snapshots(&self) -> u64 {
        self.corrupted
    }
}

/// Index of the snapshot before the newest one; 0 if there is none.
fn before_newest(snapshots: &[(u64, PathBuf)]) -> u64 {
    snapshots.iter().rev().nth(1).map_or(0, |(index, _)| *index)
}

/// The newest snapshot that is not corrupted, by its own file or by its copy. One that is corrupted is
/// set aside: it must not count as the one that a later start falls back to. Also says how many were.
fn newest_whole(folder: &Path) -> Result<(Option<(Machine, PathBuf)>, u64), LogError> {
    let mut corrupted = 0;
    for (index, path) in numbered(folder, "snapshot", ".vraft")?.into_iter().rev() {
        let detail = match snapshot_file::read(&path)? {
            Ok(read) => return Ok((Some((read, path)), corrupted)),
            Err(detail) => detail,
        };
        corrupted += 1;
        let code = Code::StateDamaged;
        tracing::error!(%code, path = %path.display(), detail, "a snapshot is corrupted");
        let mut aside = path.clone().into_os_string();
        aside.push(".corrupted");
        fs::rename(&path, &aside).map_err(|source| io_error(&path, source))?;
        let copy = folder.join(snapshot_file::copy_name(index));
        if copy.exists()
            && let Ok(read) = snapshot_file::read(&copy)?
        {
            let bytes = fs::read(&copy).map_err(|source| io_error(&copy, source))?;
            snapshot_file::write(folder, index, &bytes)?;
            tracing::warn!(index, "a corrupted snapshot was replaced by its copy");
            return Ok((Some((read, path)), corrupted));
        }
    }
    Ok((None, corrupted))
}

/// Opens the state machine in a folder of snapshots. `purged` is how far the log was let go: a
/// snapshot must reach there.
pub fn open(
    folder: &Path,
    empty: Catalogue,
    purged: Option<LogId>,
) -> Result<(StateMachine, Arc<Shared>), LogError> {
    fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
    for (_, path) in numbered(folder, "incoming", ".part")? {
        fs::remove_file(&path).map_err(|source| io_error(&path, source))?;
    }
    let mut machine = Machine::empty(empty);
    let mut current = None;
    let (whole, corrupted) = newest_whole(folder)?;
    if let Some((read, path)) = whole {
        let file = SnapshotFile::open(&path).map_err(|source| io_error(&path, source))?;
        let head = file.piece(0, 16).map_err(|source| io_error(&path, source))?;
        current = Some((meta_of(&read, &fingerprint(&head)), file));
        machine = read;
    }
    let index = machine.last_applied.map(|id| id.index);
    if index < purged.map(|id| id.index) || (current.is_none() && corrupted > 0) {
        let detail = "no whole snapshot reaches to where the log begins";
        return Err(damaged(folder, 0, detail));
    }
    let older = before_newest(&numbered(folder, "snapshot", ".vraft")?);
    let snapshot_bytes = current.as_ref().map_or(0, |(_, file)| file.bytes);
    let shared = Arc::new(Shared {
        folder: folder.to_owned(),
        catalogues: watch::channel(Arc::clone(&machine.catalogue)).0,
        applied: watch::channel(index.unwrap_or(0)).0,
        memberships: watch::channel(machine.members.log_id().map_or(0, |id| id.index)).0,
        machine: Mutex::new(machine),
        prepared: Mutex::new(None),
        current: Mutex::new(current),
        incoming: AtomicU64::new(0),
        waits_for: Mutex::new(None),
        bytes_since_snapshot: AtomicU64::new(0),
        changes_since_snapshot: AtomicU64::new(0),
        snapshot_bytes: AtomicU64::new(snapshot_bytes),
        older_snapshot: AtomicU64::new(older),
        corrupted,
        newer_met: AtomicU16::new(0),
        program: OnceLock::new(),
    });
    Ok((StateMachine { shared: Arc::clone(&shared), bodies: None }, shared))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let machine = self.shared.machine.lock();
        Ok((machine.last_applied, machine.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<EntryReply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let shared = Arc::clone(&self.shared);
        let mut machine = shared.machine();
        let revision = machine.catalogue.revision();
        let (mut replies, mut bytes, mut last) = (Vec::new(), 0, machine.last_applied);
        guarded(|| shared.step(Step::Apply)).map_err(|error| apply_error(last, error))?;
        for entry in entries {
            if let openraft::EntryPayload::Normal(payload) = &entry.payload {
                bytes += payload.0.len() as u64;
            }
            last = Some(entry.log_id);
            if let Some(catalogue) = shared.prepared_for(&entry, &machine) {
                replies.push(machine.adopt(entry.log_id, catalogue));
                continue;
            }
            let mut found = Bodies::new();
            let reply = loop {
                let applied = guarded(|| machine.apply(&entry, &found));
                match applied.map_err(|error| apply_error(last, error))? {
                    Ok(reply) => break reply,
                    Err(ApplyError::Missing(wanted)) => {
                        // What came before is served while this node waits.
                        *shared.machine.lock() = machine.clone();
                        shared.publish(&machine);
                        found = self.bodies_of(&wanted).await;
                    }
                    Err(error) => return Err(apply_error(last, error)),
                }
            };
            let (version, known) = (machine.cluster.version, shared.known_version());
            if version > known {
                shared.newer_met.store(version, Ordering::SeqCst);
                return Err(apply_error(last, newer_commands(version, known)));
            }
            replies.push(reply);
        }
        let changes = machine.catalogue.revision().saturating_sub(revision);
        shared.bytes_since_snapshot.fetch_add(bytes, Ordering::Relaxed);
        shared.changes_since_snapshot.fetch_add(changes, Ordering::Relaxed);
        let shown = guarded(|| {
            shared.step(Step::Show);
            *shared.machine.lock() = machine.clone();
            shared.publish(&machine);
        });
        shown.map_err(|error| apply_error(last, error))?;
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { machine: self.shared.machine(), shared: Arc::clone(&self.shared) }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        self.shared.incoming().map(Box::new).map_err(|error| snapshot_error(&error))
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<SnapshotFile>,
    ) -> Result<(), StorageError> {
        let (shared, last) = (Arc::clone(&self.shared), meta.last_log_id);
        let (file, path) = (SnapshotFile::clone(&snapshot), snapshot.path.clone());
        let install = move || {
            shared.step(Step::InstallSnapshot);
            let bytes = file.read().map_err(|source| io_error(&file.path, source))?;
            let machine = snapshot_file::decode_machine(&bytes)
                .map_err(|detail| damaged(&file.path, 0, detail))?;
            if machine.last_applied != last {
                return Err(damaged(&file.path, 0, "it is of another place in the log"));
            }
            let (version, known) = (machine.cluster.version, shared.known_version());
            if version > known {
                return Err(LogError::Start(newer_commands(version, known)));
            }
            shared.keep(&machine, &bytes)?;
            // The log before it goes, so that no older snapshot could take its place.
            snapshot_file::write_copy(&shared.folder, machine_index(&machine), &bytes)?;
            Ok(machine)
        };
        let installed = tokio::task::spawn_blocking(install).await;
        let installed = installed.map_err(|error| snapshot_error(&error))?;
        let machine = installed.map_err(|error: LogError| snapshot_error(&error))?;
        *self.shared.machine.lock() = machine.clone();
        self.shared.publish(&machine);
        if path.extension().is_some_and(|extension| extension == "part") {
            // It is kept under its own name now; what stays behind goes at the next start.
            let _ = fs::remove_file(&path);
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let current = self.shared.current.lock().clone();
        Ok(current.map(|(meta, file)| Snapshot { meta, snapshot: Box::new(file) }))
    }
}

/// Builds the snapshot of the state as it was when it was asked for.
pub struct SnapshotBuilder {
    machine: Machine,
    shared: Arc<Shared>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let (machine, shared) = (self.machine.clone(), Arc::clone(&self.shared));
        // Encoding and syncing would hold up a worker of the consensus.
        let build = move || {
            shared.step(Step::BuildSnapshot);
            let too_long = |error: crate::EnvelopeError| LogError::Start(error.to_string());
            let bytes = snapshot_file::encode(&machine).map_err(too_long)?;
            shared.keep(&machine, &bytes)
        };
        let built = tokio::task::spawn_blocking(build).await;
        let kept = built.map_err(|error| snapshot_error(&error))?;
        let (meta, file) = kept.map_err(|error| snapshot_error(&error))?;
        Ok(Snapshot { meta, snapshot: Box::new(file) })
    }
}
