//! The record of a decision: what replay needs, in two parts.
//!
//! ```text
//! open part        id, flow, revision, as_of, input fields that are not sensitive, window values,
//!                  flags, raw score bits with their kernels, outcome, the answer as it was sent
//! sensitive part   the unit, sensitive input fields, window values that tell one
//! ```
//!
//! The parts are encoded apart, so that a journal can encrypt the second under a key of its unit and
//! forget it with that key. Each is an envelope `[magic: 4][version: u16, little endian][payload]`,
//! the payload in bincode. A reader refuses what it does not know, what is too long, and what is
//! longer than it says.

mod stored;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use verdict_config::definition::Outcome;
use verdict_config::{Code, EvaluationVersion, TimestampMs};

pub use stored::{StoredCall, StoredFlag, StoredScores, StoredValue};

use crate::session::RulesFailure;

/// The longest encoded part in bytes.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// The newest version of the envelope's payload. A part is written in the oldest version that can hold
/// it: the second adds the version of evaluation and the age of windows to the open part, and is used from
/// [`EvaluationVersion::V2`] on.
pub const RECORD_VERSION: u16 = 2;

const OPEN_MAGIC: [u8; 4] = *b"VDRO";
const SENSITIVE_MAGIC: [u8; 4] = *b"VDRS";
const HEADER_BYTES: usize = 6;

/// Everything that replay needs.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRecord {
    /// What may be kept in the clear.
    pub open: OpenRecord,
    /// What must be encrypted; none where the request told nothing sensitive, or where its key was
    /// destroyed (then `open.has_sensitive` is set).
    pub sensitive: Option<SensitiveRecord>,
}

/// The part that may be kept in the clear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenRecord {
    /// The decision's id.
    pub decision_id: Arc<str>,
    /// The flow.
    pub flow: Arc<str>,
    /// Content hash of the compiled flow.
    pub flow_hash: [u8; 32],
    /// The catalogue's revision.
    pub revision: u64,
    /// The time that it was decided as of.
    pub as_of: TimestampMs,
    /// When the request came in.
    pub received_at: TimestampMs,
    /// Whether it was a test.
    pub test: bool,
    /// The client's id of the request.
    pub request: Option<RequestMark>,
    /// The unit, where no sensitive field names it.
    pub unit: Option<Arc<str>>,
    /// Whether a sensitive part was written.
    pub has_sensitive: bool,
    /// Input fields that are not sensitive, as canonical JSON.
    #[serde(with = "stored::bytes")]
    pub input: Vec<u8>,
    /// Window values in the order of the flow's windows; those that tell a sensitive value are in
    /// the other part.
    pub windows: Vec<Option<StoredValue>>,
    /// Whether windows could be read.
    pub windows_read: bool,
    /// How old what other nodes told of the windows may be.
    pub window_lag_ms: Option<u64>,
    /// Flags as they resolved, in the order of the flow's flags.
    pub flags: Vec<StoredFlag>,
    /// The experiment and its arm.
    pub experiment: Option<(Arc<str>, Arc<str>)>,
    /// Rules that were snoozed, as positions of set and rule.
    pub snoozed: Vec<(u32, u32)>,
    /// Why rules did not run, where they did not.
    pub rules_failure: Option<RulesFailure>,
    /// What models answered, in the order of the calls.
    pub calls: Vec<StoredCall>,
    /// The outcome.
    pub outcome: Outcome,
    /// Reason codes, for searches.
    pub reasons: Vec<Arc<str>>,
    /// What it cost.
    pub cost_units: u64,
    /// The answer's JSON as it was sent.
    #[serde(with = "stored::bytes")]
    pub answer: Vec<u8>,
    /// Number of the version by which rules evaluated; 1 in records of the first version.
    #[serde(skip, default = "first_evaluation")]
    pub evaluation: u16,
    /// Whether a window that was read had not counted for as long as it is; false in records of the
    /// first version.
    #[serde(skip)]
    pub windows_partial: bool,
}

const fn first_evaluation() -> u16 {
    EvaluationVersion::V1.number()
}

/// The second version of the open part.
#[derive(Serialize, Deserialize)]
struct OpenV2<Record> {
    record: Record,
    evaluation: u16,
    windows_partial: bool,
}

/// A client's id of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestMark {
    /// The id, 1 to 128 characters.
    pub request_id: Arc<str>,
    /// SHA-256 of the canonical body in records of older programs. Newer ones have zeros here:
    /// whoever reads the record could guess what was sensitive in the body until the hash fits. The
    /// journal recognises bodies by a hash under a key of its own.
    pub body_sha256: [u8; 32],
}

/// The part that must be encrypted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SensitiveRecord {
    /// The unit, where a sensitive field names it.
    pub unit: Option<Arc<str>>,
    /// Sensitive input fields, as canonical JSON.
    #[serde(with = "stored::bytes")]
    pub input: Vec<u8>,
    /// Window values that tell a sensitive value, by the window's position.
    pub windows: Vec<(u32, StoredValue)>,
}

/// Why a record cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not an envelope of this kind.
    #[error("not a decision record: {0}")]
    Envelope(&'static str),
    /// A newer program wrote it.
    #[error("record version {found}; this program reads up to {RECORD_VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// It is longer than [`RECORD_BYTES_MAX`].
    #[error("the record has {bytes} bytes; at most {RECORD_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Its payload cannot be read.
    #[error("the record's payload is damaged: {0}")]
    Payload(String),
}

impl RecordError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Envelope(_) | Self::Payload(_) => Code::StateDamaged,
            Self::Version { .. } => Code::StateVersion,
            Self::TooLarge { .. } => Code::LimitExceeded,
        }
    }

    /// Whether trying again could help: never.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl DecisionRecord {
    /// The open part in its envelope.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`].
    pub fn encode_open(&self) -> Result<Vec<u8>, RecordError> {
        let (open, evaluation) = (&self.open, self.open.evaluation);
        let bytes_expected = open.input.len() + open.answer.len() + 512;
        if evaluation == first_evaluation() {
            return encode((OPEN_MAGIC, 1), open, bytes_expected);
        }
        let windows_partial = open.windows_partial;
        let part = OpenV2 { record: open, evaluation, windows_partial };
        encode((OPEN_MAGIC, 2), &part, bytes_expected)
    }

    /// The sensitive part in its envelope, if there is one.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`].
    pub fn encode_sensitive(&self) -> Result<Option<Vec<u8>>, RecordError> {
        let part = self.sensitive.as_ref();
        part.map(|part| encode((SENSITIVE_MAGIC, 1), part, part.input.len() + 128)).transpose()
    }

    /// Reads a record; without its sensitive part, what needs it answers that the unit was erased.
    ///
    /// # Errors
    /// What is wrong with either envelope.
    pub fn decode(open: &[u8], sensitive: Option<&[u8]>) -> Result<Self, RecordError> {
        let open = OpenRecord::decode(open)?;
        let sensitive = sensitive.map(|bytes| {
            let (_, payload) = payload_of(SENSITIVE_MAGIC, 1, bytes)?;
            decode(payload)
        });
        Ok(Self { open, sensitive: sensitive.transpose()? })
    }

    /// The unit, if it is known.
    #[must_use]
    pub fn unit(&self) -> Option<&Arc<str>> {
        let sensitive = self.sensitive.as_ref().and_then(|part| part.unit.as_ref());
        self.open.unit.as_ref().or(sensitive)
    }

    /// Whether a sensitive part was written but is not here.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        self.open.has_sensitive && self.sensitive.is_none()
    }

    /// The whole input.
    ///
    /// # Errors
    /// [`RecordError::Payload`] where a part is not a JSON object.
    pub fn input(&self) -> Result<Map<String, Json>, RecordError> {
        let mut input = object(&self.open.input)?;
        if let Some(part) = &self.sensitive
            && !part.input.is_empty()
        {
            input.extend(object(&part.input)?);
        }
        Ok(input)
    }
}

impl OpenRecord {
    /// Reads the open part alone: enough for searches, retries and statistics.
    ///
    /// # Errors
    /// What is wrong with the envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (version, payload) = payload_of(OPEN_MAGIC, RECORD_VERSION, bytes)?;
        if version == 1 {
            return decode(payload);
        }
        let OpenV2 { record, evaluation, windows_partial } = decode(payload)?;
        Ok(Self { evaluation, windows_partial, ..record })
    }

    /// The version to replay by: the record's own where this program knows it, else the newest.
    #[must_use]
    pub fn replay_evaluation(&self) -> EvaluationVersion {
        EvaluationVersion::from_number(self.evaluation).unwrap_or(EvaluationVersion::CURRENT)
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Json>, RecordError> {
    serde_json::from_slice(bytes).map_err(|error| RecordError::Payload(error.to_string()))
}

fn encode<T: Serialize>(
    (magic, version): ([u8; 4], u16),
    part: &T,
    bytes_expected: usize,
) -> Result<Vec<u8>, RecordError> {
    let mut writer = Vec::with_capacity(HEADER_BYTES + bytes_expected);
    writer.extend_from_slice(&magic);
    writer.extend_from_slice(&version.to_le_bytes());
    bincode::serde::encode_into_std_write(part, &mut writer, bincode::config::standard())
        .map_err(|error| RecordError::Payload(error.to_string()))?;
    match writer.len() {
        0..=RECORD_BYTES_MAX => Ok(writer),
        bytes => Err(RecordError::TooLarge { bytes }),
    }
}

/// The version of an envelope, at most `known`, and its payload.
fn payload_of(magic: [u8; 4], known: u16, bytes: &[u8]) -> Result<(u16, &[u8]), RecordError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(RecordError::TooLarge { bytes: bytes.len() });
    }
    let Some((header, payload)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(RecordError::Envelope("shorter than its header"));
    };
    if header[..4] != magic {
        return Err(RecordError::Envelope("wrong magic"));
    }
    let found = u16::from_le_bytes([header[4], header[5]]);
    if !(1..=known).contains(&found) {
        return Err(RecordError::Version { found });
    }
    Ok((found, payload))
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, RecordError> {
    let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
    let (part, read) = bincode::serde::decode_from_slice(payload, config)
        .map_err(|error| RecordError::Payload(error.to_string()))?;
    if read != payload.len() {
        return Err(RecordError::Envelope("longer than its payload"));
    }
    Ok(part)
}
