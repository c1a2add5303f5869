//! Putting models and large bodies into the nodes' stores before a change names them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verdict_config::TimestampMs;
use verdict_config::model::{ModelFile, ModelObject};
use verdict_consensus::peers::Preparation;
use verdict_consensus::{ChangeSet, ContentHash, Evidence, Member, NodeAttributes, StoredBody};

use super::Handle;
use crate::blobs::{BlobError, BlobStore, Files, FolderWriter};
use crate::core::Core;
use crate::error::RuntimeError;
use crate::readiness::{Enough, Needs, Standing};

/// Between two looks at how far the nodes are; it doubles.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(10);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);
/// How long one node may take to say how far it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How a node stands to a model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NodeReadiness {
    /// The node.
    pub node_id: u64,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it could be asked; one that could not is waited for by nobody.
    pub reachable: bool,
    /// Whether it has the model fetched, verified, loaded and warmed.
    pub ready: bool,
    /// Why not; `null` if it is ready.
    pub reason: Option<String>,
}

impl Handle {
    /// The store of model folders and large bodies.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.core.blobs
    }

    /// Puts a model folder that is in memory into the node's store and describes it for the change
    /// set that names it. It is kept for an hour if none does.
    ///
    /// # Errors
    /// `Model`: not a model folder, or the disk.
    pub async fn stage_model(&self, files: Files) -> Result<ModelObject, RuntimeError> {
        let writing = self.blocking("stage", move |core| {
            let mut writer = core.blobs.writer().map_err(model_error)?;
            for (path, bytes) in &files {
                writer.add(path, &mut &bytes[..]).map_err(model_error)?;
            }
            Ok(writer)
        });
        self.stage_written(writing.await?).await
    }

    /// As [`Handle::stage_model`], for a folder that was written file by file. The other nodes are
    /// told to fetch it.
    ///
    /// # Errors
    /// As [`Handle::stage_model`].
    pub async fn stage_written(&self, writer: FolderWriter) -> Result<ModelObject, RuntimeError> {
        let _inside = self.enter()?;
        let object = self.blocking("stage", move |core| finish(core, writer)).await?;
        let needs = Needs { models: vec![object.content_hash.clone()], objects: Vec::new() };
        let handle = self.clone();
        // They begin now; whoever proposes the change waits for them.
        drop(self.core.spawner.spawn("tell to fetch", async move {
            handle.standings(&handle.members(), &needs).await;
        }));
        Ok(object)
    }

    /// What files a model folder of this node's store has.
    ///
    /// # Errors
    /// `Model`: absent or damaged.
    pub async fn describe_model(&self, hash: String) -> Result<Vec<ModelFile>, RuntimeError> {
        let handle = self.clone();
        let describe = move |core: &Core| {
            let described = core.blobs.describe(&hash);
            described.inspect_err(|error| handle.mend_behind(&hash, error)).map_err(model_error)
        };
        self.blocking("describe", describe).await
    }

    /// A piece of a file of a model folder: at most `length` bytes from `offset`.
    ///
    /// # Errors
    /// `Model`: absent, or no path of the folder.
    pub async fn model_piece(
        &self,
        (hash, path): (String, String),
        span: (u64, usize),
    ) -> Result<Vec<u8>, RuntimeError> {
        let piece = move |core: &Core| core.blobs.piece(&hash, &path, span).map_err(model_error);
        self.blocking("piece", piece).await
    }

    /// A piece of the body of a large object.
    ///
    /// # Errors
    /// `Model`: absent or damaged.
    pub async fn object_piece(
        &self,
        hash: String,
        span: (u64, usize),
    ) -> Result<Vec<u8>, RuntimeError> {
        let handle = self.clone();
        let piece = move |core: &Core| {
            let piece = core.blobs.object_piece(&hash, span);
            piece.inspect_err(|error| handle.mend_behind(&hash, error)).map_err(model_error)
        };
        self.blocking("piece", piece).await
    }

    /// The files of a model folder, brought from elsewhere if need be.
    ///
    /// # Errors
    /// `Model`: absent or damaged.
    pub async fn model_files(&self, content_hash: String) -> Result<Files, RuntimeError> {
        let read = move |core: &Core| core.blobs.obtain(&content_hash).map_err(model_error);
        self.blocking("model files", read).await
    }

    /// Begins to prepare what is not prepared yet, asking `from` first for what is not here, and
    /// says how far each thing is: models, then objects.
    #[must_use]
    pub fn prepare(&self, needs: &Needs, from: Option<u64>) -> Vec<Preparation> {
        let models = needs.models.iter().map(|hash| self.prepare_model(hash, from));
        let objects = needs.objects.iter().map(|object| self.prepare_object(*object, from));
        models.chain(objects).collect()
    }

    fn prepare_model(&self, hash: &str, from: Option<u64>) -> Preparation {
        let (key, now) = (Arc::<str>::from(hash), Instant::now());
        let staging = &self.core.staging;
        match (self.core.inference.is_loaded(&key), staging.is_known(&key)) {
            // It is served already: whatever is served was loaded and run before.
            (true, false) => staging.settle(&key, Ok(crate::clock::now().0), now),
            // Others took its memory meanwhile, if it ever was loaded.
            (false, true) => staging.forget_ready(&key),
            _ => {}
        }
        let (preparation, begin) = staging.ask(&key, now);
        if begin {
            self.begin(key, move |core, hash| load(core, hash, from));
        }
        preparation
    }

    fn prepare_object(&self, object: StoredBody, from: Option<u64>) -> Preparation {
        let key = Arc::<str>::from(object.hash.to_hex());
        let (preparation, begin) = self.core.staging.ask(&key, Instant::now());
        if begin {
            self.begin(key, move |core, hash| {
                core.blobs.fetch_object((hash, object.bytes), from).map_err(|e| e.to_string())
            });
        }
        preparation
    }

    fn begin(
        &self,
        key: Arc<str>,
        work: impl FnOnce(&Core, &Arc<str>) -> Result<(), String> + Send + 'static,
    ) {
        let core = Arc::clone(&self.core);
        let working = move || {
            let caught = std::panic::AssertUnwindSafe(|| work(&core, &key));
            let result = std::panic::catch_unwind(caught)
                .unwrap_or_else(|panic| Err(crate::spawn::panic_text(&*panic)));
            let result = result.map(|()| crate::clock::now().0);
            core.staging.settle(&key, result, Instant::now());
        };
        drop(self.core.spawner.spawn_blocking("prepare", working));
    }

    /// How every member stands to a model, this node included; the others are told to fetch it.
    pub async fn model_readiness(&self, content_hash: &str) -> Vec<NodeReadiness> {
        let needs = Needs { models: vec![content_hash.to_owned()], objects: Vec::new() };
        let members = self.members();
        let standings = self.standings(&members, &needs).await;
        let of = |member: &Member| {
            let standing = standings.get(&member.node_id);
            let reachable = !matches!(standing, None | Some(Standing::Away(_)));
            let reason = standing.and_then(Standing::reason);
            let (node_id, voter) = (member.node_id, member.voter);
            NodeReadiness { node_id, voter, reachable, ready: reason.is_none(), reason }
        };
        members.iter().map(of).collect()
    }

    /// Waits, within bounds, until the models of a change are ready everywhere, and puts the
    /// evidence into the change set.
    pub(super) async fn make_ready(
        &self,
        set: &mut ChangeSet,
        models: Vec<String>,
    ) -> Result<(), RuntimeError> {
        if models.is_empty() || self.core.log.command_version() < 2 {
            return Ok(());
        }
        let needs = Needs { models, objects: Vec::new() };
        let standings = self.wait_for(&needs, |_| Enough::EveryLiveNode).await?;
        set.evidence.clear();
        for (node_id, standing) in &standings {
            let Standing::Ready(since) = standing else { continue };
            for (model, at_ms) in needs.models.iter().zip(since) {
                let mut hash = [0; 32];
                if hex::decode_to_slice(model, &mut hash).is_ok() {
                    let (model, at) = (ContentHash(hash), TimestampMs(*at_ms));
                    set.evidence.push(Evidence { model, node_id: *node_id, at });
                }
            }
        }
        Ok(())
    }

    /// Puts large bodies into this node's store, so that the log carries their hashes only; and, if
    /// the change is a new one, waits until as many nodes have them as the settings say.
    pub(super) async fn store_bodies(
        &self,
        mut set: ChangeSet,
        new: bool,
    ) -> Result<ChangeSet, RuntimeError> {
        if set.changes.iter().all(|change| change.stored.is_none()) {
            return Ok(set);
        }
        let storing = self.blocking("store bodies", move |core| {
            let bodies = set.changes.iter().filter(|change| change.stored.is_some());
            for body in bodies.filter_map(|change| change.body.as_ref()) {
                let hash = core.blobs.put_object(body).map_err(model_error)?;
                core.staging.settle(&hash.into(), Ok(crate::clock::now().0), Instant::now());
            }
            Ok(set)
        });
        set = storing.await?;
        if !new {
            return Ok(set);
        }
        let objects = set.changes.iter().filter_map(|change| change.stored).collect();
        let needs = Needs { models: Vec::new(), objects };
        let (count, log) = (self.core.options.blob_replicas, Arc::clone(&self.core.log));
        self.wait_for(&needs, |_| Enough::Replicas { count, leader: log.leader() }).await?;
        Ok(set)
    }

    async fn wait_for(
        &self,
        needs: &Needs,
        enough: impl Fn(&[Member]) -> Enough,
    ) -> Result<BTreeMap<u64, Standing>, RuntimeError> {
        let until = tokio::time::Instant::now() + self.core.options.activation_wait;
        let mut pause = LOOK_AGAIN_MIN;
        loop {
            let members = self.members();
            let standings = self.standings(&members, needs).await;
            if enough(&members).is_met(&members, &standings) {
                return Ok(standings);
            }
            if tokio::time::Instant::now() >= until {
                let unready = standings.iter().filter_map(|(node_id, standing)| {
                    standing.reason().map(|reason| (*node_id, reason))
                });
                return Err(RuntimeError::NotReady(unready.collect()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }

    /// The members; of a log without a cluster, this node.
    fn members(&self) -> Vec<Member> {
        let members = self.core.log.members().members;
        if !members.is_empty() {
            return members;
        }
        let node_id = u64::from(self.core.options.node_id);
        vec![Member { node_id, voter: true, attributes: NodeAttributes::default() }]
    }

    /// Asks every member at the same time.
    async fn standings(&self, members: &[Member], needs: &Needs) -> BTreeMap<u64, Standing> {
        let here = u64::from(self.core.options.node_id);
        let asking = members.iter().map(|member| async move {
            let node_id = member.node_id;
            if node_id == here {
                return (node_id, Standing::of(Ok(self.prepare(needs, None)), needs));
            }
            let Some(peers) = &self.core.peers else {
                return (node_id, Standing::Away("this node asks nobody".to_owned()));
            };
            let answer = tokio::time::timeout(ANSWER_WITHIN, peers.prepare(node_id, needs)).await;
            let answer = answer.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            (node_id, Standing::of(answer, needs))
        });
        futures::future::join_all(asking).await.into_iter().collect()
    }
}

/// Finishes a folder, and loads it, which is the check that it is a model.
fn finish(core: &Core, writer: FolderWriter) -> Result<ModelObject, RuntimeError> {
    let staged = writer.finish().map_err(model_error)?;
    let described = describe(core, &staged.hash, staged.files).and_then(|object| {
        let hash: Arc<str> = object.content_hash.as_str().into();
        core.inference.warm(&hash).map_err(|error| RuntimeError::Model {
            code: error.code(),
            detail: error.to_string(),
        })?;
        core.staging.settle(&hash, Ok(crate::clock::now().0), Instant::now());
        Ok(object)
    });
    if described.is_err() && staged.new {
        drop(core.blobs.discard(&staged.hash));
    }
    described
}

fn describe(core: &Core, hash: &str, files: Vec<ModelFile>) -> Result<ModelObject, RuntimeError> {
    let invalid =
        |detail: String| RuntimeError::Model { code: verdict_config::Code::ModelInvalid, detail };
    let listed = core.blobs.list(hash).map_err(model_error)?;
    let manifest = listed.into_iter().find(|(path, _)| path == "model.json");
    let (_, place) = manifest.ok_or_else(|| invalid("the folder has no model.json".to_owned()))?;
    let bytes = std::fs::read(place).map_err(|error| model_error(error.into()))?;
    let manifest = serde_json::from_slice(&bytes);
    let manifest = manifest.map_err(|error| invalid(format!("model.json: {error}")))?;
    Ok(ModelObject { manifest, files, content_hash: hash.to_owned() })
}

/// Brings a model and loads it.
fn load(core: &Core, hash: &Arc<str>, from: Option<u64>) -> Result<(), String> {
    if from.is_some() && !core.inference.is_loaded(hash) && !core.blobs.contains(hash) {
        core.blobs.fetch(hash, from).map_err(|error| error.to_string())?;
    }
    core.inference.warm(hash).map_err(|error| error.to_string())
}

pub(super) fn model_error(error: BlobError) -> RuntimeError {
    RuntimeError::Model { code: error.code(), detail: error.to_string() }
}
