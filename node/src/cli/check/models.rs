//! The models of a catalogue folder, loaded when a flow's test first needs one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use verdict_config::model::ModelOutput;
use verdict_decisions::{ModelCall, TestScorer};
use verdict_neural::Model;

use crate::catalogue_dir::model_files;

/// Why a model cannot be run, or the model.
type Loaded = Result<Arc<Model>, String>;

/// The models in the files of a catalogue folder.
pub struct FolderModels {
    files: BTreeMap<String, Vec<u8>>,
    loaded: Mutex<BTreeMap<String, Loaded>>,
}

impl FolderModels {
    /// Models out of a folder's files, by path.
    pub fn new(mut files: BTreeMap<String, Vec<u8>>) -> Self {
        files.retain(|path, _| path.starts_with("models/"));
        Self { files, loaded: Mutex::default() }
    }

    fn model(&self, name: &str) -> Loaded {
        let mut loaded = self.loaded.lock();
        if let Some(known) = loaded.get(name) {
            return known.clone();
        }
        let files = model_files(&self.files, name);
        let model = if files.is_empty() {
            Err(format!("the folder models/{name} is not here"))
        } else {
            Model::from_files(&files).map(Arc::new).map_err(|error| error.to_string())
        };
        loaded.insert(name.to_owned(), model.clone());
        model
    }
}

impl TestScorer for FolderModels {
    fn score(&self, call: &ModelCall) -> Result<ModelOutput, String> {
        let model = self.model(&call.model)?;
        let outputs = model.predict(std::slice::from_ref(&call.row));
        let outputs = outputs.map_err(|error| error.to_string())?;
        outputs.into_iter().next().ok_or_else(|| "the model gave no output".to_owned())
    }
}
