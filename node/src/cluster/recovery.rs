//! Backups, and beginning again: from a backup, or from the only node that is left.
//!
//! A backup is a tar stream: `backup.json` (what it holds, with hashes), `state` (catalogue, history,
//! request ids, as the log's own snapshot), and `blobs/HASH/...` (the model folders that the state
//! names). Journals stay on their nodes. Whoever begins again does so as a new cluster with an
//! authority of its own, so that a node of the old one that comes back is turned away.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use verdict_actors::blobs::{BlobStore, Files};
use verdict_config::ObjectKind;
use verdict_config::settings::Settings;
use verdict_consensus::peers::{Authority, KeptIdentity, NodeKey};
use verdict_consensus::{
    BackupInfo, FolderIdentity, Log, NodeAttributes, RaftLogOptions, SurvivorReport,
    recover_survivor, restore_backup,
};

use super::Cluster;

/// The longest `backup.json`.
const INFO_BYTES_MAX: u64 = 1 << 20;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Cluster {
    /// Writes a backup into a file of the state folder and gives it, open and already without a
    /// name, so that nothing is left behind.
    ///
    /// # Errors
    /// A sentence: the disk, or a log that has ended.
    pub async fn backup(&self, data_dir: &Path) -> Result<(BackupInfo, File), String> {
        let folder = data_dir.join("backup");
        std::fs::create_dir_all(&folder).map_err(text)?;
        let name = ulid::Ulid::generate().to_string();
        let (state, whole) = (folder.join(format!("{name}.state")), folder.join(name));
        let info = self.log().backup(&state).await.map_err(text)?;
        let hashes = model_hashes(&self.log().catalogue());
        let blobs = data_dir.join("blobs");
        let described = info.clone();
        let packing = tokio::task::spawn_blocking(move || {
            let packed = pack(&described, &state, (&blobs, &hashes), &whole);
            let opened = packed.and_then(|()| File::open(&whole).map_err(text));
            // The state of a backup that failed is of no use either.
            let _ = std::fs::remove_file(&state);
            let _ = std::fs::remove_file(&whole);
            opened
        });
        Ok((info, packing.await.map_err(text)??))
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

fn pack(
    info: &BackupInfo,
    state: &Path,
    (blobs, hashes): (&Path, &[String]),
    whole: &Path,
) -> Result<(), String> {
    let mut tar = tar::Builder::new(File::create(whole).map_err(text)?);
    tar.mode(tar::HeaderMode::Deterministic);
    let json = serde_json::to_vec_pretty(info).map_err(text)?;
    append(&mut tar, "backup.json", &json)?;
    tar.append_path_with_name(state, "state").map_err(text)?;
    let store = BlobStore::open(blobs).map_err(text)?;
    for hash in hashes {
        let files = store.read(hash).map_err(|error| format!("model {hash}: {error}"))?;
        for (path, bytes) in files {
            append(&mut tar, &format!("blobs/{hash}/{path}"), &bytes)?;
        }
    }
    tar.into_inner().and_then(|file| file.sync_all()).map_err(text)
}

fn append(tar: &mut tar::Builder<File>, path: &str, bytes: &[u8]) -> Result<(), String> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    header.set_cksum();
    tar.append_data(&mut header, path, bytes).map_err(text)
}

/// Makes the state folder of the first node of a new cluster from a backup. Revision, history and
/// request ids are kept.
///
/// # Errors
/// A sentence: a folder that has state already, a backup that is not whole, the disk.
pub fn restore(backup: &Path, settings: &Settings) -> Result<BackupInfo, String> {
    let data_dir = PathBuf::from(&settings.node.data_dir);
    let identity_dir = data_dir.join("identity");
    if data_dir.join("raft").exists() || identity_dir.join("identity.json").exists() {
        return Err(format!("{} has state already: restore into a new folder", data_dir.display()));
    }
    std::fs::create_dir_all(&data_dir).map_err(text)?;
    let state = data_dir.join("restore.state");
    let unpacked = unpack(backup, &state, &data_dir.join("blobs"));
    let restored = unpacked.and_then(|info| {
        let kept = begin_again(u64::from(settings.node.id))?;
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

fn unpack(backup: &Path, state: &Path, blobs: &Path) -> Result<BackupInfo, String> {
    let store = BlobStore::open(blobs).map_err(text)?;
    let mut tar = tar::Archive::new(File::open(backup).map_err(text)?);
    let (mut told, mut found) = (None, None);
    let mut folder: (String, Files) = Default::default();
    for entry in tar.entries().map_err(text)? {
        let mut entry = entry.map_err(text)?;
        let path = entry.path().map_err(text)?.to_string_lossy().into_owned();
        if path == "backup.json" {
            let mut json = Vec::new();
            (&mut entry).take(INFO_BYTES_MAX).read_to_end(&mut json).map_err(text)?;
            told = Some(json);
        } else if path == "state" {
            let mut file = File::create(state).map_err(text)?;
            std::io::copy(&mut entry, &mut file).and_then(|_| file.sync_all()).map_err(text)?;
            let info = verdict_consensus::check_backup(state).map_err(text)?;
            found = Some(info);
        } else if let Some((hash, inner)) =
            path.strip_prefix("blobs/").and_then(|rest| rest.split_once('/'))
        {
            if folder.0 != hash {
                keep(&store, &folder)?;
                folder = (hash.to_owned(), Files::new());
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(text)?;
            folder.1.insert(inner.to_owned(), bytes);
        } else {
            return Err(format!("{path:?} does not belong into a backup"));
        }
    }
    keep(&store, &folder)?;
    let info: BackupInfo = found.ok_or("the backup has no state: it was cut off")?;
    let told = told.ok_or("the backup does not say what it holds")?;
    let told: serde_json::Value = serde_json::from_slice(&told).map_err(text)?;
    if told != serde_json::to_value(&info).map_err(text)? {
        return Err("the backup's state is not what the backup says".to_owned());
    }
    Ok(info)
}

fn keep(store: &BlobStore, (hash, files): &(String, Files)) -> Result<(), String> {
    if files.is_empty() {
        return Ok(());
    }
    let staged = store.stage(files).map_err(text)?;
    if staged == *hash { Ok(()) } else { Err(format!("model folder {hash} is not whole")) }
}

/// An identity of a new cluster; its log's folder is made by the caller.
fn begin_again(node_id: u64) -> Result<KeptIdentity, String> {
    let now = crate::http::now();
    let cluster_id = ulid::Ulid::generate().to_string().to_lowercase();
    let authority = Authority::generate(&cluster_id, now).map_err(text)?;
    let key = NodeKey::generate().map_err(text)?;
    let certificate = authority.issue(node_id, &key.public(), now).map_err(text)?;
    Ok(KeptIdentity {
        complete: true,
        ..KeptIdentity::first(node_id, &key, certificate, &authority)
    })
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
    let next = begin_again(kept.node_id)?;
    let recovered = data_dir.join("raft.recovered");
    if recovered.exists() {
        // Of a try that was cut off: the folder of before is still the one in place.
        std::fs::remove_dir_all(&recovered).map_err(text)?;
    }
    let options = RaftLogOptions::new(crate::http::now);
    let report = recover_survivor(&raft, &recovered, &next.cluster_id, &options).map_err(text)?;
    let before = data_dir.join(format!("raft.before-{}", next.cluster_id));
    std::fs::rename(&raft, &before).map_err(text)?;
    std::fs::rename(&recovered, &raft).map_err(text)?;
    next.save(&identity_dir).map_err(text)?;
    Ok((report, before))
}
