//! Keeps a catalogue folder and the catalogue the same, both ways.
//!
//! ```text
//! a save       -> differs from what was last agreed -> one change set, or none and the faults
//! a change     -> differs from what was last agreed -> the files of just those objects
//! ```
//!
//! One task does both, one after the other, so that its own writes and its own change sets come back
//! to it as "nothing differs". What was last agreed is kept as two hashes an object (as the folder
//! spells it, as the catalogue does) in a file beside the state, so that a restart neither undoes
//! changes that came by the API nor forgets saves that were made meanwhile.

mod disk;
mod guard;
mod key;
mod told;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use verdict_actors::{Handle, Proposal};
use verdict_config::catalogue::{CatalogueText, plan_files, read_files, relax_flag_files};
use verdict_config::model::sha256_hex;
use verdict_config::{Code, Fault, Faults, ObjectId, ObjectKind};
use verdict_consensus::{Catalogue, Change, ChangeSet, Op};

use crate::catalogue_dir;
use crate::catalogue_dir::{FolderError, batches, same_meaning};
use disk::{Retries, fingerprint, quiet, remove, watch};
use guard::refuse_mass_deletes;
use told::{describe, placed};

pub(crate) use disk::write;
pub use key::FolderKey;

/// What a look at the folder came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Synced {
    /// Folder and catalogue say the same.
    Unchanged,
    /// Saves became a revision.
    Applied {
        /// The revision.
        revision: u64,
        /// What changed, like `+ flow payment`.
        changes: Vec<String>,
    },
    /// Changes of the catalogue were written to files.
    Written {
        /// The files.
        files: Vec<String>,
    },
    /// The folder has faults: nothing was applied, the last good state serves on.
    Refused(Faults),
    /// The folder had faults, which are gone, and says what is served: nothing was to be applied.
    Corrected {
        /// The revision that is served.
        revision: u64,
    },
}

/// Two hashes of an object as it was last agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Agreed {
    folder: String,
    catalogue: String,
}

/// One folder and the node that serves it.
pub struct FolderSync {
    dir: PathBuf,
    memory: PathBuf,
    runtime: Handle,
    agreed: BTreeMap<String, Agreed>,
    key: FolderKey,
    /// Hash of a folder that was refused, so that the same faults are told once.
    refused: Option<String>,
    /// Whether flags must have the form of flagd's schema.
    flags_strict: bool,
    /// Findings about files that were logged, so that each is logged once.
    remarked: Faults,
}

impl FolderSync {
    /// A folder whose agreed state is remembered in the file `memory`.
    #[must_use]
    pub fn new(dir: PathBuf, memory: PathBuf, runtime: Handle) -> Self {
        let agreed = std::fs::read(&memory).ok();
        let agreed = agreed.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (agreed, key) = (agreed.unwrap_or_default(), FolderKey::default());
        Self {
            dir,
            memory,
            runtime,
            agreed,
            key,
            refused: None,
            flags_strict: true,
            remarked: Faults::new(),
        }
    }

    /// The same folder, which acts with a key.
    #[must_use]
    pub fn acting_with(self, key: FolderKey) -> Self {
        Self { key, ..self }
    }

    /// The same, with the setting `flags.strict`.
    #[must_use]
    pub fn with_flags_strict(self, flags_strict: bool) -> Self {
        Self { flags_strict, ..self }
    }

    /// The files of the folder, as they are taken.
    async fn read(&self) -> Result<BTreeMap<String, Vec<u8>>, FolderError> {
        let (dir, flags_strict) = (self.dir.clone(), self.flags_strict);
        let read = move || {
            let mut files = catalogue_dir::read_dir(&dir)?;
            if !flags_strict {
                relax_flag_files(&mut files);
            }
            Ok(files)
        };
        blocking(read).await?
    }

    /// Looks at both sides and settles what differs: saves first, then files.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub async fn settle(&mut self) -> Result<Synced, FolderError> {
        let files = self.read().await?;
        // What was refused under one revision may be right under the next.
        let fingerprint =
            format!("{} {}", self.runtime.log().catalogue().revision(), fingerprint(&files));
        if self.refused.as_ref() == Some(&fingerprint) {
            return Ok(Synced::Unchanged);
        }
        let (text, files) = match blocking(move || (read_files(&files), files)).await? {
            (Ok(text), files) => (text, files),
            (Err(faults), _) => return Ok(self.refuse(fingerprint, faults)),
        };
        self.log_remarks(&text);
        let applied = match self.apply_saves(&text, &files).await {
            Ok(applied) => applied,
            Err(faults) => return Ok(self.refuse(fingerprint, faults)),
        };
        let was_refused = self.refused.take().is_some();
        let written = self.write_changes(&text).await?;
        Ok(match applied {
            Some((revision, changes)) => Synced::Applied { revision, changes },
            None if !written.is_empty() => Synced::Written { files: written },
            None if was_refused => {
                Synced::Corrected { revision: self.runtime.log().catalogue().revision() }
            }
            None => Synced::Unchanged,
        })
    }

    /// Only brings the catalogue to what the folder says; no file is written.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn settle_one_way(&mut self) -> Result<Synced, FolderError> {
        let files = self.read().await?;
        let text = match read_files(&files) {
            Ok(text) => text,
            Err(faults) => return Ok(Synced::Refused(faults)),
        };
        Ok(match self.apply_saves(&text, &files).await {
            Ok(Some((revision, changes))) => Synced::Applied { revision, changes },
            Ok(None) => Synced::Unchanged,
            Err(faults) => Synced::Refused(faults),
        })
    }

    /// Logs findings about files: those that nothing reads are easily taken for served ones.
    fn log_remarks(&mut self, text: &CatalogueText) {
        for remark in text.remarks.iter().filter(|remark| !self.remarked.contains(remark)) {
            let file = remark.file.as_deref().unwrap_or_default();
            tracing::warn!(file, line = remark.line, message = %remark.message, "file in doubt");
        }
        self.remarked.clone_from(&text.remarks);
    }

    fn refuse(&mut self, fingerprint: String, faults: Faults) -> Synced {
        self.refused = Some(fingerprint);
        Synced::Refused(faults)
    }

    /// Proposes what was saved since folder and catalogue last agreed.
    async fn apply_saves(
        &self,
        text: &CatalogueText,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Option<(u64, Vec<String>)>, Faults> {
        let catalogue = self.runtime.log().catalogue();
        let changes = self.saves(text, &catalogue);
        if changes.is_empty() {
            return Ok(None);
        }
        let faults = refuse_mass_deletes(&changes, text, &catalogue);
        if !faults.is_empty() {
            return Err(faults);
        }
        for change in &changes {
            if change.kind == ObjectKind::Model && change.op == Op::Put {
                self.stage(files, &change.name).await?;
            }
        }
        let shown = changes.iter().map(|change| describe(change, &catalogue)).collect();
        let mut revision = 0;
        for part in batches(changes) {
            revision = self.propose(text, part).await?;
        }
        Ok(Some((revision, shown)))
    }

    async fn propose(&self, text: &CatalogueText, changes: Vec<Change>) -> Result<u64, Faults> {
        let touched: Vec<Change> = changes.clone();
        let id = ulid::Ulid::generate().to_string();
        let set = ChangeSet::new(id, "saved in the catalogue folder", changes);
        let catalogue = self.runtime.log().catalogue();
        let author = self.key.author(&**self.runtime.log(), &set, &catalogue);
        let author = author.map_err(|fault| vec![fault])?;
        let proposal = Proposal { change_set: set, author };
        match self.runtime.propose(proposal).await {
            Ok(proposed) => Ok(proposed.applied.revision),
            Err(error) => Err(placed(text, &touched, &error)),
        }
    }

    /// Objects whose files differ from what was last agreed, and from the catalogue as well.
    fn saves(&self, text: &CatalogueText, catalogue: &Catalogue) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, object) in &text.objects {
            let agreed = self.agreed.get(&id.to_string());
            let body = object.body.to_string();
            if agreed.is_some_and(|agreed| agreed.folder == sha256_hex(body.as_bytes())) {
                continue;
            }
            let found = catalogue.get(id);
            let same = found
                .and_then(|found| found.json().ok())
                .is_some_and(|found| same_meaning(id, &found, &object.body));
            if !same {
                let revision = found.map_or(0, |found| found.revision);
                let change = Change::put(id.kind, id.name.as_str(), body.into_bytes());
                changes.push(change.expecting(revision));
            }
        }
        for object in catalogue.objects() {
            let known = self.agreed.contains_key(&object.id.to_string());
            let gone = known && !text.objects.contains_key(&object.id);
            if gone && catalogue_dir::has_files(object.id.kind) {
                let change = Change::delete(object.id.kind, object.id.name.as_str());
                changes.push(change.expecting(object.revision));
            }
        }
        changes
    }

    async fn stage(&self, files: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<(), Faults> {
        let folder = catalogue_dir::model_files(files, name);
        let staged = self.runtime.stage_model(folder).await;
        let fault = |message: String| {
            let mut fault = Fault::new(Code::ModelInvalid, "", message);
            fault.file = Some(format!("models/{name}"));
            vec![fault]
        };
        staged.map(|_| ()).map_err(|error| fault(error.to_string()))
    }

    /// Writes the files of objects that the catalogue changed, and remembers what is agreed now.
    async fn write_changes(&mut self, text: &CatalogueText) -> Result<Vec<String>, FolderError> {
        let catalogue = self.runtime.log().catalogue();
        let objects: BTreeMap<ObjectId, Json> = catalogue
            .objects()
            .filter(|object| catalogue_dir::has_files(object.id.kind))
            .filter_map(|object| Some((object.id.clone(), object.json().ok()?)))
            .collect();
        let plan = match plan_files(text, &objects) {
            Ok(plan) => plan,
            Err(faults) => {
                tracing::warn!(faults = faults.len(), "the catalogue cannot be written as files");
                return Ok(Vec::new());
            }
        };
        let mut written = Vec::new();
        for (path, bytes) in &plan.writes {
            write(&self.dir.join(path), bytes)?;
            written.push(path.clone());
        }
        for path in &plan.deletes {
            remove(&self.dir.join(path), false)?;
            written.push(path.clone());
        }
        for path in &plan.model_deletes {
            remove(&self.dir.join(path), true)?;
            written.push(path.clone());
        }
        for (name, hash) in &plan.models {
            self.write_model(name.as_str(), hash).await?;
            written.push(format!("models/{name}"));
        }
        self.remember(&catalogue, text, &written).await?;
        Ok(written)
    }

    async fn write_model(&self, name: &str, hash: &str) -> Result<(), FolderError> {
        match self.runtime.model_files(hash.to_owned()).await {
            Ok(files) => {
                let folder = self.dir.join("models").join(name);
                remove(&folder, true)?;
                for (path, bytes) in &files {
                    write(&folder.join(path), bytes)?;
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, model = name, "the model cannot be written as files");
                Ok(())
            }
        }
    }

    /// Folder and catalogue agree now; says so on the disk too.
    async fn remember(
        &mut self,
        catalogue: &Catalogue,
        text: &CatalogueText,
        written: &[String],
    ) -> Result<(), FolderError> {
        let reread;
        let text = if written.is_empty() {
            text
        } else {
            // What was just written is spelled as the writer spells it.
            reread = read_files(&self.read().await?).unwrap_or_default();
            &reread
        };
        let mut agreed = BTreeMap::new();
        for object in catalogue.objects() {
            let Some(source) = text.objects.get(&object.id) else { continue };
            let folder = sha256_hex(source.body.to_string().as_bytes());
            agreed
                .insert(object.id.to_string(), Agreed { folder, catalogue: object.hash.to_hex() });
        }
        if agreed != self.agreed {
            self.agreed = agreed;
            let bytes = serde_json::to_vec(&self.agreed).unwrap_or_default();
            write(&self.memory, &bytes)?;
        }
        Ok(())
    }

    /// Settles whenever either side changes, until `stop`; every result but "unchanged" is told.
    ///
    /// # Errors
    /// The folder cannot be watched.
    pub async fn run(
        mut self,
        stop: CancellationToken,
        tell: impl Fn(&Synced) + Send,
    ) -> Result<(), FolderError> {
        let (events, mut woken) = mpsc::channel(1);
        let _watcher = watch(&self.dir, events)?;
        let mut revisions = self.runtime.log().watch();
        let mut retries = Retries::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = woken.recv() => match event {
                    Some(()) => quiet(&mut woken).await,
                    None => return Ok(()),
                },
                changed = revisions.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = retries.due() => {}
            }
            if retries.is_paused() {
                continue;
            }
            match self.settle().await {
                Ok(synced) => {
                    retries.succeeded();
                    if synced != Synced::Unchanged {
                        tell(&synced);
                    }
                }
                Err(error) => retries.failed(&error),
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FolderError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| FolderError::Io {
        path: PathBuf::new(),
        source: std::io::Error::other(error.to_string()),
    })
}
