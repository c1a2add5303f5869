//! What is longer than a call may be, in pieces: a model's folder that comes to a node, a backup that
//! is fetched from one. Pure.
//!
//! ```text
//! begin(model, bytes) ─> id      begin(backup) ─> id
//! send(id, offset, data) ...     state(id) until done: bytes, sha256
//! stage(id), state(id): object   read(id, offset) ...
//! end(id)                        end(id)
//! ```
//!
//! A transfer belongs to the node that began it and to the key that asked; each piece may be sent or
//! read again. Data is base64: requests and answers are JSON.

use serde::{Deserialize, Serialize};
use verdict_config::settings::Role;

use crate::request::{RouteCall, encode};

/// A step of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transfer {
    /// Begins one.
    Begin {
        /// What it is for.
        purpose: TransferPurpose,
        /// The bytes that will be sent; only of a model's folder, as a tar stream.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// Sends a piece.
    Send {
        /// The transfer.
        id: String,
        /// Where the piece begins, in bytes.
        offset: u64,
        /// Its bytes, base64; at most the `piece_bytes_max` that the beginning was answered with.
        data: String,
    },
    /// Has what was sent made ready to be named by a change set.
    Stage {
        /// The transfer.
        id: String,
    },
    /// How far it is.
    State {
        /// The transfer.
        id: String,
    },
    /// Reads a piece.
    Read {
        /// The transfer.
        id: String,
        /// Where the piece begins, in bytes.
        offset: u64,
    },
    /// Ends it.
    End {
        /// The transfer.
        id: String,
    },
}

/// What a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferPurpose {
    /// A model's folder, sent to the node.
    Model,
    /// A backup, read from the node.
    Backup,
}

impl Transfer {
    /// The weakest role that may ask. Steps behind the beginning are for whoever began.
    #[must_use]
    pub const fn needs(&self) -> Role {
        match self {
            Self::Begin { purpose: TransferPurpose::Backup, .. } => Role::Operator,
            _ => Role::Editor,
        }
    }

    /// The route that answers it.
    #[must_use]
    pub fn route(&self) -> RouteCall {
        let path = |id: &str| format!("/v1/admin/transfers/{}", encode(id));
        match self {
            Self::Begin { purpose, bytes } => {
                let mut body = serde_json::json!({ "purpose": purpose });
                if let Some(bytes) = bytes {
                    body["bytes"] = (*bytes).into();
                }
                RouteCall::post("/v1/admin/transfers", &body)
            }
            Self::Send { id, offset, data } => {
                RouteCall::post(&path(id), &serde_json::json!({ "offset": offset, "data": data }))
            }
            Self::Stage { id } => RouteCall::post(&(path(id) + ":stage"), &serde_json::json!({})),
            Self::State { id } => RouteCall::get(&path(id)),
            Self::Read { id, offset } => RouteCall::get(&format!("{}?offset={offset}", path(id))),
            Self::End { id } => RouteCall { method: "DELETE", path: path(id), body: None },
        }
    }
}
