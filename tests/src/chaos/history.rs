//! What happened, in the order of one monotonic clock: every call with both its times, every event that
//! a watcher saw, every fault. A file of it is one JSON object a line.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What a call was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `POST /v1/changes`.
    Change,
    /// `POST /v1/rollback`.
    Rollback,
    /// `POST /v1/decisions/{flow}`.
    Decision,
    /// `POST /ofrep/v1/evaluate/flags`.
    Flags,
    /// A linearizable read of an object.
    Read,
    /// `GET /v1/status`.
    Status,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reply {
    /// A success.
    Ok {
        /// `X-Verdict-Revision`.
        revision: Option<u64>,
        /// The body.
        body: Json,
    },
    /// A refusal that says so.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
        /// `X-Verdict-Revision`.
        revision: Option<u64>,
        /// Whether it may have been done all the same.
        unknown: bool,
    },
    /// No answer: it may have been done.
    Unknown {
        /// Why there is none.
        detail: String,
    },
}

/// One call, from when it was sent to when its answer was there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Who asked.
    pub client: String,
    /// The node that was asked.
    pub node: u64,
    /// What for.
    pub kind: Kind,
    /// The body; for a read its path.
    pub request: Json,
    /// The revision that it was to be answered under at least.
    #[serde(default)]
    pub min_revision: Option<u64>,
    /// Whether the answer says, in its head, that the node is out of touch.
    #[serde(default)]
    pub stale: bool,
    /// When it was sent, in microseconds.
    pub begin_us: u64,
    /// When the answer was there.
    pub end_us: u64,
    /// The answer.
    pub reply: Reply,
}

impl Call {
    /// The revision that the answer reports.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        match &self.reply {
            Reply::Ok { revision, .. } | Reply::Refused { revision, .. } => *revision,
            Reply::Unknown { .. } => None,
        }
    }

    /// The body of a success.
    #[must_use]
    pub const fn body(&self) -> Option<&Json> {
        match &self.reply {
            Reply::Ok { body, .. } => Some(body),
            Reply::Refused { .. } | Reply::Unknown { .. } => None,
        }
    }

    /// The request's own id.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request["request_id"].as_str().unwrap_or_default()
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// A call.
    Call(Call),
    /// What a watcher was told.
    Watched {
        /// Who.
        watcher: String,
        /// By which node.
        node: u64,
        /// The event's id.
        id: u64,
        /// The event's data.
        data: Json,
        /// When, in microseconds.
        at_us: u64,
    },
    /// A watcher began from a revision of its own choice.
    WatchBegan {
        /// Who.
        watcher: String,
        /// What it has seen so far.
        from: u64,
    },
    /// A fault began.
    Fault {
        /// Its name.
        name: String,
        /// Nodes without a majority that go on answering, from now until it is healed.
        isolated: Vec<u64>,
        /// When, in microseconds.
        at_us: u64,
    },
    /// The fault was healed.
    Healed {
        /// Its name.
        name: String,
        /// When, in microseconds.
        at_us: u64,
    },
    /// After a heal: every node serves the same, takes changes, and is not stale; or not in time.
    Converged {
        /// The fault's name.
        name: String,
        /// How long it took, or how long was waited.
        took_ms: u64,
        /// Why it did not; nothing where it did.
        failure: Option<String>,
    },
    /// The whole history of the catalogue, as a node tells it at the end, oldest first.
    Catalogue {
        /// Which node.
        node: u64,
        /// Its entries.
        entries: Vec<Json>,
    },
    /// The state hash of a node at the end.
    State {
        /// Which node.
        node: u64,
        /// Its revision.
        revision: u64,
        /// Its hash.
        hash: String,
    },
    /// What lies in a node's store of large bodies at the end.
    Stored {
        /// Which node.
        node: u64,
        /// How many bodies.
        bodies: u64,
        /// Names of those that are not what their hash says.
        damaged: Vec<String>,
    },
    /// A decision as it is explained at the end.
    Explained {
        /// Its id.
        id: String,
        /// The status of the answer.
        status: u16,
        /// The explanation.
        body: Json,
    },
    /// A cluster restored from a backup, with what it tells.
    Restored {
        /// The revision of the backup at least.
        least: u64,
        /// Its entries, oldest first.
        entries: Vec<Json>,
        /// Why it failed; nothing where it did not.
        failure: Option<String>,
    },
}

struct Inner {
    start: Instant,
    records: Mutex<Vec<Record>>,
}

/// A history that is being written. Cloning is cheap and shares it.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { inner: Arc::new(Inner { start: Instant::now(), records: Mutex::default() }) }
    }
}

impl Recorder {
    /// Microseconds since the start.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.inner.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds a record.
    pub fn add(&self, record: Record) {
        self.inner.records.lock().push(record);
    }

    /// Everything so far.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.inner.records.lock().clone()
    }
}

/// Writes a history to a file.
///
/// # Errors
/// The disk.
pub fn write(records: &[Record], file: &Path) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for record in records {
        serde_json::to_writer(&mut out, record)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Reads a history from a file.
///
/// # Errors
/// The disk, or a line that is no record.
pub fn read(file: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(file)?;
    let lines = text.lines().enumerate();
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("line {}", number + 1))
        })
        .collect()
}
