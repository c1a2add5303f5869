//! What nodes say to each other beside the log: joining, and what members ask of one another.
//!
//! Versioned envelopes as in the log: `[magic][version][bincode]`. Enumerations grow at their end.

use serde::{Deserialize, Serialize};

use super::frame::PEER_FRAME_BYTES_MAX;
use crate::command::{EnvelopeError, decode, open, seal};
use crate::proof::ProofV1;
use crate::raft::NodeAttributes;

const JOIN_MAGIC: [u8; 4] = *b"VDPJ";
const JOINED_MAGIC: [u8; 4] = *b"VDPK";
const REQUEST_MAGIC: [u8; 4] = *b"VDNQ";
const ORDER_MAGIC: [u8; 4] = *b"VDNO";
const ANSWER_MAGIC: [u8; 4] = *b"VDNR";
const VERSION: u16 = 1;
/// The longest request to join, and its answer.
pub const WIRE_JOIN_BYTES_MAX: usize = 64 << 10;

/// Bytes of a piece of a model folder.
pub const FOLDER_PIECE_BYTES: usize = 1 << 20;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a message between nodes: {0}")]
pub struct WireError(String);

impl From<EnvelopeError> for WireError {
    fn from(error: EnvelopeError) -> Self {
        Self(error.to_string())
    }
}

/// A node asks to be let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which token it has.
    pub token_id: String,
    /// The token's secret.
    pub secret: String,
    /// The public half of its key.
    pub public_key: Vec<u8>,
    /// What the members are to know of it.
    pub attributes: NodeAttributes,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "JoinRequest({}, {:?})", self.token_id, self.attributes)
    }
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// It is a member now.
    Admitted(Admitted),
    /// It is not.
    Refused {
        /// Why, and what to do.
        detail: String,
        /// Whether asking again, here or elsewhere, could help.
        retryable: bool,
    },
    /// It is a member now, of a cluster whose version asks for more than a certificate.
    AdmittedBy {
        /// What makes it a member.
        admitted: Admitted,
        /// The voters, with the addresses where they listen for peers. It follows nobody else until
        /// its log names members.
        voters: Vec<(u64, String)>,
    },
}

/// What makes a node a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Its id.
    pub node_id: u64,
    /// Its certificate and what stands between it and the authority, DER.
    pub chain: Vec<Vec<u8>>,
    /// Certificates of the authorities, DER.
    pub authorities: Vec<Vec<u8>>,
}

/// What a member asks of another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeRequest {
    /// To keep the authority's private key, PEM, before it becomes a voter.
    KeepAuthority {
        /// The key.
        key_pem: String,
    },
    /// To stand for election: the leader is about to leave.
    StandForElection,
    /// What files a model folder has.
    DescribeFolder {
        /// Its content hash.
        hash: String,
    },
    /// A piece of a file of a model folder, at most [`FOLDER_PIECE_BYTES`] long.
    FolderPiece {
        /// The folder's content hash.
        hash: String,
        /// The file's path in it.
        path: String,
        /// Where the piece begins.
        offset: u64,
    },
    /// A decision that the asked node made, as an answer of HTTP.
    Decision {
        /// Its id.
        id: String,
        /// What is asked of it.
        read: DecisionRead,
    },
    /// To record outcomes of decisions that the asked node made.
    Outcomes {
        /// The outcomes, as clients send them.
        json: Vec<u8>,
    },
    /// To destroy the key of a unit.
    EraseUnit {
        /// The unit.
        unit: String,
    },
    /// To keep an erasure for nodes that are away, and to see to it that they perform it.
    KeepErasure {
        /// The unit.
        unit: String,
        /// The nodes.
        nodes: Vec<u64>,
    },
    /// What the asking node is to erase, as the asked one knows.
    PendingErasures {
        /// The number of the last one that it was told; 0 at first.
        after: u64,
    },
    /// To fetch, verify, load and warm what a change will need, going on behind the answer.
    Prepare {
        /// Content hashes of model folders.
        models: Vec<String>,
        /// Hashes and lengths of objects' bodies.
        objects: Vec<([u8; 32], u64)>,
    },
    /// A piece of the body of an object, at most [`FOLDER_PIECE_BYTES`] long.
    ObjectPiece {
        /// The body's hash, in hex.
        hash: String,
        /// Where the piece begins.
        offset: u64,
    },
    /// The newest version of commands that the node's program knows.
    CommandVersion,
    /// To sign an operator's public key: the asking node has no key of the authority.
    CertifyOperator {
        /// The name of the key's object.
        name: String,
        /// Ed25519, 32 bytes: what the object says it is.
        public_key: Vec<u8>,
    },
    /// What model folders and large bodies the asked node has.
    Holdings,
    /// To sign the asking node's public key by the authority that signs now.
    CertifyNode {
        /// The public half of its key.
        public_key: Vec<u8>,
    },
    /// To keep the key of an authority that the cluster is about to trust. Of voters, to voters.
    KeepNextAuthority {
        /// Its certificate, DER.
        certificate: Vec<u8>,
        /// Its private key, PEM.
        key_pem: Secret,
    },
    /// For the private key of an authority that is trusted. Of voters, to voters.
    AuthorityKey {
        /// Its certificate, DER.
        certificate: Vec<u8>,
    },
    /// How far the node is in a rotation of the authority.
    AuthorityState,
    /// To check a person's proof and sign an order. Of members, to voters.
    SignOrder {
        /// The order.
        order: Order,
        /// What the person sent.
        proof: ProofV1,
    },
    /// To carry out an order that a voter signed.
    CarryOut {
        /// The signed order.
        sealed: Vec<u8>,
    },
    /// To keep a signed erasure for nodes that are away, and to see to it that they perform it.
    KeepOrder {
        /// The signed order.
        sealed: Vec<u8>,
        /// The nodes.
        nodes: Vec<u64>,
    },
    /// Signed erasures that the asking node is to perform, as the asked one knows.
    PendingOrders {
        /// The number of the last one that it got; 0 at first.
        after: u64,
    },
    /// To sign an operator's public key, for a person with this proof.
    CertifyProved {
        /// The name of the key's object.
        name: String,
        /// Ed25519, 32 bytes: what the object says it is.
        public_key: Vec<u8>,
        /// What the person sent.
        proof: ProofV1,
    },
}

/// What a person asks of a node other than the leader. A voter checks the person's proof once and signs
/// the order; every node believes a voter's signature.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// To destroy the key of a unit.
    EraseUnit {
        /// The unit.
        unit: String,
    },
    /// To read a decision.
    ReadDecision {
        /// Its id.
        id: String,
        /// What is asked of it.
        read: DecisionRead,
        /// The node that may read it, for the person.
        reader: u64,
        /// From when on the order is refused, in milliseconds since the epoch.
        expires_ms: i64,
    },
}

impl std::fmt::Debug for Order {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EraseUnit { .. } => formatter.write_str("EraseUnit"),
            Self::ReadDecision { id, read, reader, .. } => {
                write!(formatter, "ReadDecision({id}, {read:?}, by {reader})")
            }
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// How far a node is in a rotation of the authority. Authorities by the SHA-256 of their
/// certificates, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityState {
    /// Those that it trusts, as its disk says.
    pub trusts: Vec<String>,
    /// The one that signed the certificate that it serves and calls with; empty, if none that it
    /// trusts.
    pub certified_by: String,
    /// Those whose private keys it has.
    pub keys: Vec<String>,
}

/// How far a node is with something that it was asked to prepare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preparation {
    /// Under way.
    Loading,
    /// It is there and verified; a model is loaded and warm as well.
    Ready {
        /// Since when, by the node's clock, in milliseconds since the epoch.
        at_ms: i64,
    },
    /// It failed, and is tried again when it is asked for again.
    Failed {
        /// Why.
        detail: String,
    },
}

/// What is asked of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecisionRead {
    /// To explain it.
    Explain {
        /// Whether sensitive fields are shown.
        sees_sensitive: bool,
    },
    /// To compute it again.
    Replay {
        /// Whether its models' scores are computed again as well.
        recompute: bool,
    },
}

impl std::fmt::Debug for NodeRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KeepAuthority { .. } => formatter.write_str("KeepAuthority"),
            Self::StandForElection => formatter.write_str("StandForElection"),
            Self::Outcomes { json } => write!(formatter, "Outcomes({} bytes)", json.len()),
            Self::EraseUnit { .. } => formatter.write_str("EraseUnit"),
            Self::CertifyOperator { name, .. } => write!(formatter, "CertifyOperator({name})"),
            Self::KeepErasure { nodes, .. } => write!(formatter, "KeepErasure({nodes:?})"),
            Self::PendingErasures { after } => write!(formatter, "PendingErasures({after})"),
            Self::Decision { id, read } => write!(formatter, "Decision({id}, {read:?})"),
            Self::DescribeFolder { hash } => write!(formatter, "DescribeFolder({hash})"),
            Self::FolderPiece { hash, path, offset } => {
                write!(formatter, "FolderPiece({hash}, {path}, {offset})")
            }
            Self::Prepare { models, objects } => {
                write!(formatter, "Prepare({models:?}, {} objects)", objects.len())
            }
            Self::ObjectPiece { hash, offset } => {
                write!(formatter, "ObjectPiece({hash}, {offset})")
            }
            Self::CommandVersion => formatter.write_str("CommandVersion"),
            Self::Holdings => formatter.write_str("Holdings"),
            Self::CertifyNode { .. } => formatter.write_str("CertifyNode"),
            Self::KeepNextAuthority { .. } => formatter.write_str("KeepNextAuthority"),
            Self::AuthorityKey { .. } => formatter.write_str("AuthorityKey"),
            Self::AuthorityState => formatter.write_str("AuthorityState"),
            Self::SignOrder { order, .. } => write!(formatter, "SignOrder({order:?})"),
            Self::CarryOut { .. } => formatter.write_str("CarryOut"),
            Self::KeepOrder { nodes, .. } => write!(formatter, "KeepOrder({nodes:?})"),
            Self::PendingOrders { after } => write!(formatter, "PendingOrders({after})"),
            Self::CertifyProved { name, .. } => write!(formatter, "CertifyProved({name})"),
        }
    }
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeAnswer {
    /// It is done.
    Done,
    /// It is not.
    Refused {
        /// Why.
        detail: String,
    },
    /// The files of a folder: path, SHA-256 in hex, bytes.
    Folder(Vec<(String, String, u64)>),
    /// A piece of a file; shorter at the file's end.
    Piece(Vec<u8>),
    /// An answer of HTTP: its status and its JSON.
    Http {
        /// The status.
        status: u16,
        /// The body.
        body: Vec<u8>,
    },
    /// The unit's key is gone.
    Erased {
        /// Whether there was one.
        found: bool,
    },
    /// Units that are to be erased, with rising numbers.
    Erasures(Vec<(u64, String)>),
    /// How far the node is: models, then objects, in the order in which they were named.
    Prepared(Vec<Preparation>),
    /// The newest version of commands that its program knows.
    CommandVersion(u16),
    /// A certificate.
    Certificate {
        /// DER.
        der: Vec<u8>,
    },
    /// What the node has, sorted by hash.
    Holdings {
        /// Model folders: content hash in hex, bytes, whether it is loaded.
        folders: Vec<(String, u64, bool)>,
        /// Bodies of large objects: hash in hex, bytes.
        objects: Vec<(String, u64)>,
        /// How many more there are.
        left_out: u64,
    },
    /// The private key that was asked for, PEM.
    AuthorityKey(Secret),
    /// How far the node is.
    AuthorityState(AuthorityState),
    /// The person may not do it, or did not prove who they are.
    Denied {
        /// The stable code.
        code: String,
        /// Why.
        detail: String,
    },
    /// An order, signed.
    Order {
        /// The signed order.
        sealed: Vec<u8>,
    },
    /// Signed erasures, with rising numbers.
    Orders(Vec<(u64, Vec<u8>)>),
}

macro_rules! messages {
    ($($type:ty, $magic:expr, $limit:expr;)*) => {$(
        impl $type {
            /// The message as it is sent.
            ///
            /// # Errors
            /// One that is too long.
            pub fn encode(&self) -> Result<Vec<u8>, WireError> {
                let bytes = seal($magic, VERSION, self)?;
                if bytes.len() > $limit {
                    return Err(WireError(format!("{} bytes are too many", bytes.len())));
                }
                Ok(bytes)
            }

            /// Reads a message.
            ///
            /// # Errors
            /// Bytes that are none.
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let (_, payload) = open($magic, VERSION, $limit, bytes)?;
                Ok(decode(payload)?)
            }
        }
    )*};
}

messages! {
    JoinRequest, JOIN_MAGIC, WIRE_JOIN_BYTES_MAX;
    JoinAnswer, JOINED_MAGIC, WIRE_JOIN_BYTES_MAX;
    NodeRequest, REQUEST_MAGIC, PEER_FRAME_BYTES_MAX;
    Order, ORDER_MAGIC, PEER_FRAME_BYTES_MAX;
    NodeAnswer, ANSWER_MAGIC, PEER_FRAME_BYTES_MAX;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are on the wire between versions of this program.
    #[test]
    fn golden_bytes() {
        let request = JoinRequest {
            token_id: "t".to_owned(),
            secret: "s".to_owned(),
            public_key: vec![4, 5],
            attributes: NodeAttributes { region: "eu".to_owned(), ..NodeAttributes::default() },
        };
        let bytes = request.encode().unwrap();
        assert_eq!(
            hex::encode(&bytes),
            "5644504a01000174017302040500000000026575".to_owned() + "00"
        );
        assert_eq!(JoinRequest::decode(&bytes).unwrap(), request);
        let refused = JoinAnswer::Refused { detail: "no".to_owned(), retryable: true };
        let bytes = refused.encode().unwrap();
        assert_eq!(hex::encode(&bytes), "5644504b010001026e6f01");
        assert_eq!(JoinAnswer::decode(&bytes).unwrap(), refused);
        let admitted = Admitted { node_id: 4, chain: vec![vec![1]], authorities: vec![vec![2]] };
        let voters = vec![(1, "a".to_owned())];
        let admitted = JoinAnswer::AdmittedBy { admitted, voters };
        let bytes = admitted.encode().unwrap();
        assert_eq!(hex::encode(&bytes), "5644504b010002040101010101020101".to_owned() + "0161");
        assert_eq!(JoinAnswer::decode(&bytes).unwrap(), admitted);
        let keep = NodeRequest::KeepAuthority { key_pem: "k".to_owned() };
        let bytes = keep.encode().unwrap();
        assert_eq!(hex::encode(&bytes), "56444e51010000016b");
        assert_eq!(NodeRequest::decode(&bytes).unwrap(), keep);
        assert_eq!(hex::encode(NodeAnswer::Done.encode().unwrap()), "56444e52010000");
        let kept = NodeRequest::KeepErasure { unit: "u".to_owned(), nodes: vec![2, 3] };
        let bytes = kept.encode().unwrap();
        assert_eq!(hex::encode(&bytes), "56444e51010007017502".to_owned() + "0203");
        assert_eq!(NodeRequest::decode(&bytes).unwrap(), kept);
        let pending = NodeRequest::PendingErasures { after: 5 };
        assert_eq!(hex::encode(pending.encode().unwrap()), "56444e5101000805");
        let units = NodeAnswer::Erasures(vec![(7, "u".to_owned())]);
        let bytes = units.encode().unwrap();
        assert_eq!(hex::encode(&bytes), "56444e520100060107".to_owned() + "0175");
        assert_eq!(NodeAnswer::decode(&bytes).unwrap(), units);
        let prepare =
            NodeRequest::Prepare { models: vec!["m".to_owned()], objects: vec![([7; 32], 300)] };
        let bytes = prepare.encode().unwrap();
        let golden = format!("56444e51010009 01016d 01{}fb2c01", "07".repeat(32)).replace(' ', "");
        assert_eq!(hex::encode(&bytes), golden);
        assert_eq!(NodeRequest::decode(&bytes).unwrap(), prepare);
        let piece = NodeRequest::ObjectPiece { hash: "h".to_owned(), offset: 3 };
        assert_eq!(hex::encode(piece.encode().unwrap()), "56444e5101000a016803");
        let version = NodeRequest::CommandVersion;
        assert_eq!(hex::encode(version.encode().unwrap()), "56444e5101000b");
        let prepared = NodeAnswer::Prepared(vec![
            Preparation::Loading,
            Preparation::Ready { at_ms: 5 },
            Preparation::Failed { detail: "no".to_owned() },
        ]);
        let bytes = prepared.encode().unwrap();
        assert_eq!(hex::encode(&bytes), "56444e5201000703 00 010a 02026e6f".replace(' ', ""));
        assert_eq!(NodeAnswer::decode(&bytes).unwrap(), prepared);
        let version = NodeAnswer::CommandVersion(2);
        assert_eq!(hex::encode(version.encode().unwrap()), "56444e5201000802");
        let holdings = NodeRequest::Holdings;
        assert_eq!(hex::encode(holdings.encode().unwrap()), "56444e5101000d");
        let held = NodeAnswer::Holdings {
            folders: vec![("m".to_owned(), 300, true)],
            objects: vec![("o".to_owned(), 2)],
            left_out: 1,
        };
        let bytes = held.encode().unwrap();
        let golden = "56444e5201000a 01 016d fb2c01 01 01 016f 02 01".replace(' ', "");
        assert_eq!(hex::encode(&bytes), golden);
        assert_eq!(NodeAnswer::decode(&bytes).unwrap(), held);
    }

    #[test]
    fn golden_bytes_of_a_rotation() {
        let requests = [
            (NodeRequest::CertifyNode { public_key: vec![4, 5] }, "0e020405"),
            (
                NodeRequest::KeepNextAuthority {
                    certificate: vec![7],
                    key_pem: Secret("k".to_owned()),
                },
                "0f0107016b",
            ),
            (NodeRequest::AuthorityKey { certificate: vec![7] }, "100107"),
            (NodeRequest::AuthorityState, "11"),
        ];
        for (request, golden) in requests {
            let bytes = request.encode().unwrap();
            assert_eq!(hex::encode(&bytes), format!("56444e510100{golden}"), "{request:?}");
            assert_eq!(NodeRequest::decode(&bytes).unwrap(), request);
        }
        let state = AuthorityState {
            trusts: vec!["a".to_owned()],
            certified_by: "b".to_owned(),
            keys: Vec::new(),
        };
        let answers = [
            (NodeAnswer::AuthorityKey(Secret("k".to_owned())), "0b016b"),
            (NodeAnswer::AuthorityState(state), "0c010161016200"),
        ];
        for (answer, golden) in answers {
            let bytes = answer.encode().unwrap();
            assert_eq!(hex::encode(&bytes), format!("56444e520100{golden}"), "{answer:?}");
            assert_eq!(NodeAnswer::decode(&bytes).unwrap(), answer);
        }
        assert!(
            !format!("{:?}", NodeAnswer::AuthorityKey(Secret("pem".to_owned()))).contains("pem")
        );
    }

    #[test]
    fn wild_bytes_are_refused() {
        assert!(JoinRequest::decode(b"").is_err());
        assert!(JoinRequest::decode(b"VDPJ\x01\x00\xff\xff\xff\xff\xff").is_err());
        assert!(JoinRequest::decode(&vec![0; WIRE_JOIN_BYTES_MAX + 1]).is_err());
        let mut longer = NodeAnswer::Done.encode().unwrap();
        longer.push(0);
        assert!(NodeAnswer::decode(&longer).is_err());
        let mut newer = NodeAnswer::Done.encode().unwrap();
        newer[4] = 9;
        assert!(NodeAnswer::decode(&newer).is_err());
    }
}
