//! Bringing what is not here from nodes that have it.
//!
//! ```text
//! fetch(hash) ─ one at a time a hash, two in all ─> rounds over the nodes, with pauses
//!    node: describe ─> file by file: what is here is hashed, the rest asked for piece by piece
//!            │ another folder: it lied              │ ends early: cut short, the next node goes on
//!            └ passed over in this fetch            └ wrong hash: begun anew from one node alone
//!    every file whole ─> folders synced ─> renamed to its hash
//! ```
//!
//! Pieces go to the disk as they come; what was brought stays there when the node that gave it, or
//! this process, ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};
use verdict_config::model::{ModelFile, content_hash};

use super::source::{BlobSource, PIECE_BYTES_MAX, SourceError};
use super::store::{BlobStore, PARTIAL};
use super::writer::{copy_hashed, sync_folders};
use super::{BlobError, check_shape};

/// Fetches under way at once; more wait.
const FETCHES_MAX: usize = 2;
/// How often every node is asked before a fetch is given up.
const ROUNDS_MAX: u32 = 4;
/// The pause after the first round; it doubles.
const ROUND_PAUSE: Duration = Duration::from_millis(50);
/// How long a hash that nobody gave is not asked for again; it doubles up to the longest.
const REST_MIN: Duration = Duration::from_millis(250);
const REST_MAX: Duration = Duration::from_secs(10);
/// Hashes whose failures are remembered.
const RESTS_MAX: usize = 1_024;

/// What came of bringing things from other nodes, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct BlobCounts {
    /// Folders and objects that were brought.
    pub brought: u64,
    /// Bytes that came over the network.
    pub bytes: u64,
    /// Bytes of earlier tries that did not have to come again.
    pub bytes_resumed: u64,
    /// Answers that were not what was asked for.
    pub lies: u64,
    /// Contents that ended before their length.
    pub cut_short: u64,
    /// Fetches that were given up.
    pub given_up: u64,
    /// Contents on this disk that were not what their hash says.
    pub damaged: u64,
    /// Damaged contents that were brought anew.
    pub repaired: u64,
}

#[derive(Default)]
struct Counters {
    brought: AtomicU64,
    bytes: AtomicU64,
    bytes_resumed: AtomicU64,
    lies: AtomicU64,
    cut_short: AtomicU64,
    given_up: AtomicU64,
}

/// A hash that nobody gave.
struct Rest {
    until: Instant,
    failures: u32,
}

/// What fetches have in common.
#[derive(Default)]
pub(super) struct Fetches {
    running: Mutex<usize>,
    freed: Condvar,
    by_hash: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    rests: Mutex<HashMap<String, Rest>>,
    counters: Counters,
}

/// Why a node's turn ended without the whole.
pub(super) enum TurnEnd {
    /// Our own disk: no other node helps.
    Disk(BlobError),
    /// The node cannot be reached or does not have it, or its content ended early.
    Next(String),
    /// It said what cannot be true.
    Lied(String),
}

impl From<io::Error> for TurnEnd {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.into())
    }
}

impl From<BlobError> for TurnEnd {
    fn from(error: BlobError) -> Self {
        Self::Disk(error)
    }
}

impl From<SourceError> for TurnEnd {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Away(detail) => Self::Next(detail),
            SourceError::Untrue(detail) => Self::Lied(detail),
        }
    }
}

impl Fetches {
    pub(super) fn counts(&self) -> BlobCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BlobCounts {
            brought: of(&self.counters.brought),
            bytes: of(&self.counters.bytes),
            bytes_resumed: of(&self.counters.bytes_resumed),
            lies: of(&self.counters.lies),
            cut_short: of(&self.counters.cut_short),
            given_up: of(&self.counters.given_up),
            ..BlobCounts::default()
        }
    }

    fn begin(&self) -> Turn<'_> {
        let mut running = self.running.lock();
        while *running >= FETCHES_MAX {
            self.freed.wait(&mut running);
        }
        *running += 1;
        Turn(self)
    }

    fn of_hash(&self, hash: &str) -> Arc<Mutex<()>> {
        let mut all = self.by_hash.lock();
        all.retain(|_, one| Arc::strong_count(one) > 1);
        Arc::clone(all.entry(hash.to_owned()).or_default())
    }

    fn rests(&self, hash: &str) -> bool {
        self.rests.lock().get(hash).is_some_and(|rest| rest.until > Instant::now())
    }

    fn failed(&self, hash: &str) {
        self.counters.given_up.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut rests = self.rests.lock();
        if rests.len() >= RESTS_MAX {
            rests.retain(|_, rest| rest.until > now);
        }
        if rests.len() >= RESTS_MAX && !rests.contains_key(hash) {
            return;
        }
        let rest = rests.entry(hash.to_owned()).or_insert(Rest { until: now, failures: 0 });
        let pause = REST_MIN.saturating_mul(1 << rest.failures.min(10)).min(REST_MAX);
        (rest.until, rest.failures) = (now + pause, rest.failures.saturating_add(1));
    }

    fn count(&self, end: &TurnEnd, cut_short: bool) {
        if matches!(end, TurnEnd::Lied(_)) {
            self.counters.lies.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("verdict_blob_lies_total").increment(1);
        } else if cut_short {
            self.counters.cut_short.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("verdict_blob_cut_short_total").increment(1);
        }
    }
}

/// One of the fetches that run.
struct Turn<'own>(&'own Fetches);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.freed.notify_one();
    }
}

/// A file to be brought.
pub(super) struct Wanted<'own> {
    pub place: &'own Path,
    pub sha256: &'own str,
    pub size: u64,
}

/// Who gave the bytes of each unfinished file; none for bytes of an earlier process.
pub(super) type Givers = BTreeMap<String, BTreeSet<Option<u64>>>;

impl BlobStore {
    /// Brings a folder from other nodes, `first` before the others. One that is here and whole is
    /// left as it is. Blocking.
    ///
    /// # Errors
    /// Absent where nobody gave it, or the disk.
    pub fn fetch(&self, hash: &str, first: Option<u64>) -> Result<(), BlobError> {
        let place = self.place(hash)?;
        self.fetch_with(
            hash,
            first,
            || place.is_dir() && self.is_whole(hash),
            |node, givers| self.try_folder(node, hash, givers),
        )
    }

    /// Asks one node after the other until `from` has brought the whole.
    pub(super) fn fetch_with(
        &self,
        hash: &str,
        first: Option<u64>,
        is_here: impl Fn() -> bool,
        from: impl Fn(u64, &mut Givers) -> Result<(), TurnEnd>,
    ) -> Result<(), BlobError> {
        let fetches = &self.shared.fetches;
        let absent = || BlobError::Absent(hash.to_owned());
        let source = Arc::clone(self.source().ok_or_else(absent)?);
        if first.is_none() && fetches.rests(hash) {
            return Err(absent());
        }
        let one = fetches.of_hash(hash);
        let _alone = one.lock();
        if is_here() {
            return Ok(());
        }
        let _turn = fetches.begin();
        let mut liars = BTreeSet::new();
        let mut givers = Givers::new();
        for round in 0..ROUNDS_MAX {
            let others = source.nodes().into_iter().filter(|node| Some(*node) != first);
            for node in first.into_iter().chain(others) {
                if liars.contains(&node) {
                    continue;
                }
                match from(node, &mut givers) {
                    Ok(()) => {
                        fetches.counters.brought.fetch_add(1, Ordering::Relaxed);
                        fetches.rests.lock().remove(hash);
                        self.touch(hash);
                        tracing::info!(hash, node, "brought from another node");
                        return Ok(());
                    }
                    Err(TurnEnd::Disk(error)) => return Err(error),
                    Err(TurnEnd::Next(detail)) => {
                        tracing::debug!(hash, node, detail, "not from there");
                    }
                    Err(TurnEnd::Lied(detail)) => {
                        tracing::error!(hash, node, detail, "a node gave what was not asked for");
                        liars.insert(node);
                    }
                }
            }
            std::thread::sleep(ROUND_PAUSE.saturating_mul(1 << round));
        }
        fetches.failed(hash);
        Err(absent())
    }

    fn try_folder(&self, node: u64, hash: &str, givers: &mut Givers) -> Result<(), TurnEnd> {
        let Some(source) = self.source() else {
            return Err(TurnEnd::Next("nobody can be asked".to_owned()));
        };
        let files = self.described(&**source, node, hash)?;
        let partial = self.shared.root.join(format!("{PARTIAL}{hash}"));
        fs::create_dir_all(&partial)?;
        for file in &files {
            let place = partial.join(&file.path);
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent)?;
            }
            let wanted = Wanted { place: &place, sha256: &file.sha256, size: file.size };
            let piece = |offset| source.file_piece(node, (hash, &file.path), offset);
            self.bring_file((node, &file.path), &wanted, &piece, givers)?;
        }
        sync_folders(&partial, &files)?;
        self.put_in_place(&partial, hash)?;
        Ok(())
    }

    /// What a folder holds, as a node says; believed once it has the hash that was asked for. Of
    /// the sizes, only a file's own hash tells.
    fn described(
        &self,
        source: &dyn BlobSource,
        node: u64,
        hash: &str,
    ) -> Result<Vec<ModelFile>, TurnEnd> {
        let described = source.describe(node, hash).map_err(TurnEnd::from).and_then(|files| {
            if content_hash(&files) != hash {
                return Err(TurnEnd::Lied("it describes another folder".to_owned()));
            }
            check_shape(&files).map_err(|error| TurnEnd::Lied(error.to_string()))?;
            Ok(files)
        });
        described.inspect_err(|end| self.shared.fetches.count(end, false))
    }

    /// Brings what is missing of one file, from one node. Bytes that were brought before, also by an
    /// earlier process, stay; a file that has a wrong hash in the end is begun anew, and only a node
    /// that gave all of it is to blame.
    pub(super) fn bring_file(
        &self,
        (node, name): (u64, &str),
        wanted: &Wanted<'_>,
        piece: &dyn Fn(u64) -> Result<Vec<u8>, SourceError>,
        givers: &mut Givers,
    ) -> Result<(), TurnEnd> {
        for _ in 0..2 {
            if self.continue_file((node, name), wanted, piece, givers)? {
                givers.remove(name);
                return Ok(());
            }
            fs::remove_file(wanted.place)?;
            let alone = givers.remove(name).is_none_or(|by| by == BTreeSet::from([Some(node)]));
            if alone {
                let end = TurnEnd::Lied(format!("{name} is not what its hash says"));
                self.shared.fetches.count(&end, false);
                return Err(end);
            }
        }
        Err(TurnEnd::Next(format!("{name} is not what its hash says")))
    }

    /// Whether the file has the hash it should have, now that it has its length.
    fn continue_file(
        &self,
        (node, name): (u64, &str),
        wanted: &Wanted<'_>,
        piece: &dyn Fn(u64) -> Result<Vec<u8>, SourceError>,
        givers: &mut Givers,
    ) -> Result<bool, TurnEnd> {
        let fetches = &self.shared.fetches;
        let mut file = File::options().create(true).append(true).open(wanted.place)?;
        let mut length = file.metadata()?.len();
        if length > wanted.size {
            // Another node told another length.
            file.set_len(0)?;
            length = 0;
            givers.remove(name);
        }
        let mut hasher = Sha256::new();
        if length > 0 {
            copy_hashed(&mut File::open(wanted.place)?, &mut HashWriter(&mut hasher))?;
            givers.entry(name.to_owned()).or_insert_with(|| BTreeSet::from([None]));
            if length < wanted.size {
                fetches.counters.bytes_resumed.fetch_add(length, Ordering::Relaxed);
            }
        }
        while length < wanted.size {
            let bytes = piece(length).map_err(|error| {
                let end = TurnEnd::from(error);
                fetches.count(&end, false);
                end
            })?;
            let left = wanted.size - length;
            if bytes.is_empty() {
                let end = TurnEnd::Next(format!("{name} ends {left} bytes early"));
                fetches.count(&end, true);
                return Err(end);
            }
            if bytes.len() > PIECE_BYTES_MAX || bytes.len() as u64 > left {
                let end = TurnEnd::Lied(format!("a piece of {name} is longer than asked for"));
                fetches.count(&end, false);
                return Err(end);
            }
            givers.entry(name.to_owned()).or_default().insert(Some(node));
            hasher.update(&bytes);
            file.write_all(&bytes)?;
            length += bytes.len() as u64;
            fetches.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        if hex::encode(hasher.finalize()) != wanted.sha256 {
            return Ok(false);
        }
        file.sync_all()?;
        Ok(true)
    }
}

/// Hashes what is written to it.
struct HashWriter<'own>(&'own mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
