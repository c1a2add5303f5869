//! What can go wrong with models and their data.

use verdict_config::{Code, Fault, Faults};

/// A failure of this crate. None of them is retryable: the same bytes fail the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NeuralError {
    /// A model folder that is damaged, incomplete or of a newer format. `file` names the file in
    /// the folder, or is empty for the folder as a whole.
    #[error("model folder: {}{detail}", if file.is_empty() { String::new() } else { format!("{file}: ") })]
    Folder {
        /// The file within the folder.
        file: String,
        /// What is wrong, in a sentence.
        detail: String,
    },
    /// A row that does not fit the model: wrong number of cells, wrong kinds, not finite.
    #[error("row {row}: {detail}")]
    Input {
        /// Index in the batch, from 0.
        row: usize,
        /// What is wrong, in a sentence.
        detail: String,
    },
    /// Training data or options that cannot be used.
    #[error("training data: {detail}")]
    Training {
        /// What is wrong, in a sentence.
        detail: String,
    },
    /// Every fault found in a data file.
    #[error("{}", list(.0))]
    Data(Faults),
}

fn list(faults: &[Fault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl NeuralError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Folder { .. } => Code::ModelInvalid,
            Self::Input { .. } => Code::ModelInput,
            Self::Training { .. } | Self::Data(_) => Code::TrainingData,
        }
    }

    /// Whether trying again may help; never, since everything here is pure.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }

    pub(crate) fn folder(file: &str, detail: impl Into<String>) -> Self {
        Self::Folder { file: file.to_owned(), detail: detail.into() }
    }

    pub(crate) fn training(detail: impl Into<String>) -> Self {
        Self::Training { detail: detail.into() }
    }
}
