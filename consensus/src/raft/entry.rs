//! What entries of ours say, in versioned envelopes.
//!
//! Change sets come as a batch, evaluated by the leader on the catalogue it had applied, which is
//! named by its revision. A node applies the batch only on that very revision: what the leader
//! accepted is then accepted by every node, whatever version of the checks it runs, and a batch
//! that lost a race with another leader's is turned away whole, equally everywhere.

use serde::{Deserialize, Serialize};

use super::types::EntryPayload;
use super::wire::ENTRY_BYTES_MAX;
use crate::catalogue::Bytes;
use crate::command::{EnvelopeError, decode, open, seal};

const MAGIC: [u8; 4] = *b"VDEC";
const VERSION: u16 = 1;

/// A command of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryCommand {
    /// Change sets, accepted by the leader on a revision.
    Changes {
        /// The revision of the catalogue before the first of them.
        base_revision: u64,
        /// [`crate::Command`]s as envelopes, in order.
        commands: Vec<Vec<u8>>,
    },
    /// Gives a node id, the same for the same request.
    AllocateNode {
        /// Who asks; the answer to a retry is the same id.
        request_id: String,
    },
    /// Raises the version of the cluster: from there on commands of that version may be used.
    RaiseVersion {
        /// The version.
        version: u16,
    },
}

#[derive(Serialize, Deserialize)]
enum CommandV1 {
    Changes { base_revision: u64, commands: Vec<Bytes> },
    AllocateNode { request_id: String },
    RaiseVersion { version: u16 },
}

impl EntryCommand {
    /// The command as an entry carries it.
    pub fn encode(self) -> Result<EntryPayload, EnvelopeError> {
        let wire = match self {
            Self::Changes { base_revision, commands } => {
                let commands = commands.into_iter().map(|bytes| Bytes(bytes.into())).collect();
                CommandV1::Changes { base_revision, commands }
            }
            Self::AllocateNode { request_id } => CommandV1::AllocateNode { request_id },
            Self::RaiseVersion { version } => CommandV1::RaiseVersion { version },
        };
        seal(MAGIC, VERSION, &wire).map(|bytes| EntryPayload(bytes.into()))
    }

    /// Reads a command.
    pub fn decode(payload: &EntryPayload) -> Result<Self, EnvelopeError> {
        let (_, bytes) = open(MAGIC, VERSION, ENTRY_BYTES_MAX, &payload.0)?;
        Ok(match decode(bytes)? {
            CommandV1::Changes { base_revision, commands } => {
                let commands = commands.into_iter().map(|bytes| bytes.0.to_vec()).collect();
                Self::Changes { base_revision, commands }
            }
            CommandV1::AllocateNode { request_id } => Self::AllocateNode { request_id },
            CommandV1::RaiseVersion { version } => Self::RaiseVersion { version },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let changes = EntryCommand::Changes {
            base_revision: 300,
            commands: vec![b"ab".to_vec(), b"c".to_vec()],
        };
        let allocate = EntryCommand::AllocateNode { request_id: "r".to_owned() };
        let raise = EntryCommand::RaiseVersion { version: 2 };
        let golden = [
            (changes, "5644454301 0000 fb2c01 02 02 6162 01 63"),
            (allocate, "5644454301 00 01 01 72"),
            (raise, "5644454301 00 02 02"),
        ];
        for (command, text) in golden {
            let bytes: String = text.split_whitespace().collect();
            assert_eq!(hex::encode(&command.clone().encode().unwrap().0), bytes);
            let payload = EntryPayload(hex::decode(bytes).unwrap().into());
            assert_eq!(EntryCommand::decode(&payload).unwrap(), command);
        }
    }
}
