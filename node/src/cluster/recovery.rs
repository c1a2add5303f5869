//! Backups, and beginning again: from a backup, or from the only node that is left.
//!
//! A backup is a tar stream: `backup.json` (what it holds, with hashes), `state` (catalogue, history,
//! request ids, as the log's own snapshot), and `blobs/HASH/...` (the model folders that the state
//! names). It is sent as it is packed, and read back file by file. Journals stay on their nodes.
//! Whoever begins again does so as a new cluster with an authority of its own, so that a node of the
//! old one that comes back is turned away.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use verdict_actors::blobs::{BlobStore, FolderWriter};
use verdict_config::ObjectKind;
use verdict_config::settings::Settings;
use verdict_consensus::peers::{Authority, KeptIdentity, NodeKey};
use verdict_consensus::{
    BackupInfo, FolderIdentity, Log, NodeAttributes, RaftLogOptions, SurvivorReport,
    recover_survivor, restore_backup,
};

use super::Cluster;
use super::given::GivenTls;
use crate::archive;

/// The longest `backup.json`.
const INFO_BYTES_MAX: u64 = 1 << 20;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What `backup.json` says.
#[derive(serde::Serialize)]
struct Contents<'own> {
    #[serde(flatten)]
    info: &'own BackupInfo,
    /// The model folders behind the state: one that is missing was cut off.
    models: &'own [String],
}

/// A backup that is ready to be sent.
pub(crate) struct PreparedBackup {
    /// What it holds.
    pub info: BackupInfo,
    state: File,
    hashes: Vec<String>,
    store: BlobStore,
}

impl Cluster {
    /// Writes the state of a backup into a file of the state folder, already without a name, so that
    /// nothing is left behind; and sees that every model folder is here.
    ///
    /// # Errors
    /// A sentence: the disk, a folder that nobody has, or a log that has ended.
    pub(crate) async fn prepare_backup(
        &self,
        data_dir: &Path,
        store: &BlobStore,
    ) -> Result<PreparedBackup, String> {
        let folder = data_dir.join("backup");
        std::fs::create_dir_all(&folder).map_err(text)?;
        let path = folder.join(format!("{}.state", ulid::Ulid::generate()));
        let info = self.log().backup(&path).await.map_err(text)?;
        let (hashes, store) = (model_hashes(&self.log().catalogue()), store.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let opened = File::open(&path).map_err(text);
            std::fs::remove_file(&path).map_err(text)?;
            for hash in &hashes {
                let here = store.obtain_on_disk(hash);
                here.map_err(|error| format!("model {hash}: {error}"))?;
            }
            Ok::<_, String>(PreparedBackup { info, state: opened?, hashes, store })
        });
        opening.await.map_err(text)?
    }
}

impl PreparedBackup {
    /// Packs it, file by file. Blocking.
    ///
    /// # Errors
    /// The disk's, or the writer's.
    pub(crate) fn pack(self, to: impl Write) -> std::io::Result<()> {
        let mut tar = tar::Builder::new(to);
        let contents = Contents { info: &self.info, models: &self.hashes };
        let json = serde_json::to_vec_pretty(&contents)?;
        archive::append(&mut tar, "backup.json", json.len() as u64, &json[..])?;
        archive::append(&mut tar, "state", self.info.bytes, self.state)?;
        for hash in &self.hashes {
            let files = self.store.list(hash).map_err(std::io::Error::other)?;
            for (path, place) in files {
                archive::append_file(&mut tar, &format!("blobs/{hash}/{path}"), &place)?;
            }
        }
        tar.into_inner()?.flush()
    }
}

/// Hashes of the model folders that a catalogue names.
fn model_hashes(catalogue: &verdict_consensus::Catalogue) -> Vec<String> {
    let models = catalogue.of_kind(ObjectKind::Model).filter_map(|object| {
        let model: serde_json::Value = serde_json::from_slice(&object.body).ok()?;
        model["content_hash"].as_str().map(str::to_owned)
    });
    let mut hashes: Vec<String> = models.collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// Reads a whole backup as [`restore`] would, and makes nothing of it.
///
/// # Errors
/// As [`restore`] would be refused.
pub fn check_restore(backup: &Path, settings: &Settings) -> Result<BackupInfo, String> {
    require_no_state(Path::new(&settings.node.data_dir))?;
    let scratch = std::env::temp_dir().join(format!("verdict-restore-{}", ulid::Ulid::generate()));
    std::fs::create_dir(&scratch).map_err(text)?;
    let unpacked = unpack(backup, &scratch.join("state"), &scratch.join("blobs"));
    let removed = std::fs::remove_dir_all(&scratch).map_err(text);
    let info = unpacked?;
    begin_again(settings, u64::from(settings.node.id), &info.cluster_id)?;
    removed.map(|()| info)
}

fn require_no_state(data_dir: &Path) -> Result<(), String> {
    if data_dir.join("raft").exists() || data_dir.join("identity/identity.json").exists() {
        return Err(format!("{} has state already: restore into a new folder", data_dir.display()));
    }
    Ok(())
}

/// Makes the state folder of the first node of a new cluster from a backup. Revision, history and
/// request ids are kept.
///
/// # Errors
/// A sentence: a folder that has state already, a backup that is not whole, the disk.
pub fn restore(backup: &Path, settings: &Settings) -> Result<BackupInfo, String> {
    let data_dir = PathBuf::from(&settings.node.data_dir);
    let identity_dir = data_dir.join("identity");
    require_no_state(&data_dir)?;
    std::fs::create_dir_all(&data_dir).map_err(text)?;
    let state = data_dir.join("restore.state");
    let unpacked = unpack(backup, &state, &data_dir.join("blobs"));
    let restored = unpacked.and_then(|info| {
        let kept = begin_again(settings, u64::from(settings.node.id), &info.cluster_id)?;
        let identity =
            FolderIdentity { cluster_id: kept.cluster_id.clone(), node_id: kept.node_id };
        let attributes = NodeAttributes {
            region: settings.node.region.clone(),
            zone: settings.node.zone.clone(),
            ..NodeAttributes::default()
        };
        restore_backup(&state, &data_dir.join("raft"), &identity, attributes).map_err(text)?;
        kept.save(&identity_dir).map_err(text)?;
        Ok(info)
    });
    let _ = std::fs::remove_file(&state);
    restored
}

/// Why a backup cannot be read, in a sentence.
struct Unreadable(String);

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

fn unpack(backup: &Path, state: &Path, blobs: &Path) -> Result<BackupInfo, String> {
    let store = BlobStore::open(blobs).map_err(text)?;
    let mut unpacking = Unpacking { store, state, told: None, found: None, folder: None };
    let file = BufReader::new(File::open(backup).map_err(text)?);
    archive::each_file(file, |path, content| unpacking.take(path, content).map_err(Unreadable))
        .map_err(|Unreadable(detail)| detail)?;
    unpacking.finish()
}

/// A backup that is being read.
struct Unpacking<'own> {
    store: BlobStore,
    state: &'own Path,
    told: Option<Vec<u8>>,
    found: Option<BackupInfo>,
    folder: Option<(String, FolderWriter)>,
}

impl Unpacking<'_> {
    fn take(&mut self, path: &str, content: &mut dyn Read) -> Result<(), String> {
        if path == "backup.json" {
            let mut json = Vec::new();
            content.take(INFO_BYTES_MAX).read_to_end(&mut json).map_err(text)?;
            self.told = Some(json);
        } else if path == "state" {
            let mut file = File::create(self.state).map_err(text)?;
            std::io::copy(content, &mut file).and_then(|_| file.sync_all()).map_err(text)?;
            self.found = Some(verdict_consensus::check_backup(self.state).map_err(text)?);
        } else if let Some((hash, inner)) =
            path.strip_prefix("blobs/").and_then(|rest| rest.split_once('/'))
        {
            if self.folder.as_ref().is_none_or(|(open, _)| open != hash) {
                self.keep()?;
                self.folder = Some((hash.to_owned(), self.store.writer().map_err(text)?));
            }
            if let Some((_, writer)) = &mut self.folder {
                writer.add(inner, content).map_err(text)?;
            }
        } else {
            return Err(format!("{path:?} does not belong into a backup"));
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<(), String> {
        let Some((hash, writer)) = self.folder.take() else { return Ok(()) };
        let staged = writer.finish().map_err(text)?;
        if staged.hash == hash {
            return Ok(());
        }
        Err(format!("model folder {hash} is not whole"))
    }

    fn finish(mut self) -> Result<BackupInfo, String> {
        self.keep()?;
        let info = self.found.ok_or("the backup has no state: it was cut off")?;
        let told = self.told.ok_or("the backup does not say what it holds")?;
        let mut told: serde_json::Value = serde_json::from_slice(&told).map_err(text)?;
        // Backups of before do not say which models they hold.
        let models = told.as_object_mut().and_then(|told| told.remove("models"));
        if told != serde_json::to_value(&info).map_err(text)? {
            return Err("the backup's state is not what the backup says".to_owned());
        }
        let models = models.as_ref().and_then(|models| models.as_array());
        for hash in models.into_iter().flatten().filter_map(|hash| hash.as_str()) {
            if !self.store.contains(hash) {
                return Err(format!("model folder {hash} is missing: the backup was cut off"));
            }
        }
        Ok(info)
    }
}

/// An identity of a new cluster; its log's folder is made by the caller. A certificate that the
/// operator gives names it, and not the one of before.
fn begin_again(settings: &Settings, node_id: u64, before: &str) -> Result<KeptIdentity, String> {
    let now = crate::http::now();
    let cluster_id = match GivenTls::of(&settings.cluster) {
        None => ulid::Ulid::generate().to_string().to_lowercase(),
        Some(files) => files.load(now).and_then(|given| given.cluster_of(node_id)).map_err(text)?,
    };
    if cluster_id == before {
        return Err(format!(
            "cluster.tls_certificate names {before}, the cluster of before: give one for another \
             name, so that its nodes are turned away"
        ));
    }
    let authority = Authority::generate(&cluster_id, now).map_err(text)?;
    let key = NodeKey::generate().map_err(text)?;
    let certificate = authority.issue(node_id, &key.public(), now).map_err(text)?;
    Ok(KeptIdentity {
        complete: true,
        ..KeptIdentity::first(node_id, &key, certificate, &authority)
    })
}

/// Names the node that this one, which does not run, follows at its next start.
///
/// # Errors
/// A sentence: a node that runs, or no node; the disk.
pub fn trust_leader(settings: &Settings, leader: u64) -> Result<(), String> {
    let raft = Path::new(&settings.node.data_dir).join("raft");
    verdict_consensus::trust_leader(&raft, leader).map_err(text)
}

/// Begins a new cluster with what this node's folder has, when the others are lost for good. The
/// folder of before stays beside it.
///
/// # Errors
/// A sentence: a node that runs, damage, the disk.
pub fn recover(settings: &Settings) -> Result<(SurvivorReport, PathBuf), String> {
    let data_dir = PathBuf::from(&settings.node.data_dir);
    let (identity_dir, raft) = (data_dir.join("identity"), data_dir.join("raft"));
    let kept = KeptIdentity::load(&identity_dir).map_err(text)?;
    let kept = kept.ok_or_else(|| format!("{} has no node", data_dir.display()))?;
    let next = begin_again(settings, kept.node_id, &kept.cluster_id)?;
    let recovered = data_dir.join("raft.recovered");
    if recovered.exists() {
        // Of a try that was cut off: the folder of before is still the one in place.
        std::fs::remove_dir_all(&recovered).map_err(text)?;
    }
    let mut options = RaftLogOptions::new(crate::http::now);
    let bodies = BlobStore::open(data_dir.join("blobs")).map_err(text)?;
    options.bodies = Some(std::sync::Arc::new(bodies));
    let report = recover_survivor(&raft, &recovered, &next.cluster_id, &options).map_err(text)?;
    let before = data_dir.join(format!("raft.before-{}", next.cluster_id));
    std::fs::rename(&raft, &before).map_err(text)?;
    std::fs::rename(&recovered, &raft).map_err(text)?;
    next.save(&identity_dir).map_err(text)?;
    Ok((report, before))
}
