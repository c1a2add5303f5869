//! One segment: its file, and its index in memory or beside it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::columns::Row;
use super::frame::{self, HEADER_BYTES, Header};
use super::index::{Index, OutcomeRow, Span};
use super::sidecar::Sidecar;
use super::{DecisionId, JournalError};

/// The index of a segment.
#[derive(Debug)]
pub enum Body {
    /// In memory: the segment is written, or was just now.
    Live(Index),
    /// Beside the file.
    Sealed(Sidecar),
}

/// A segment.
#[derive(Debug)]
pub struct Segment {
    pub number: u64,
    pub path: PathBuf,
    pub file: File,
    pub bytes: AtomicU64,
    pub body: RwLock<Body>,
}

/// The name of a segment's file.
pub fn name(number: u64) -> String {
    format!("segment-{number:010}.vj")
}

impl Segment {
    /// Makes a segment's file with its head. Its name is not yet durable.
    pub fn create(folder: &Path, number: u64) -> Result<Self, JournalError> {
        let path = folder.join(name(number));
        // A file of this name holds nothing that was answered: it was being made when a process ended.
        let make = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all_at(&frame::file_head(number), 0)?;
            Ok(file)
        };
        let file = make().map_err(|error: std::io::Error| {
            JournalError::Failed(format!("{}: {error}", path.display()))
        })?;
        let bytes = AtomicU64::new(frame::FILE_HEAD_BYTES as u64);
        let body = RwLock::new(Body::Live(Index::default()));
        Ok(Self { number, path, file, bytes, body })
    }

    /// Opens a segment's file.
    pub fn open(folder: &Path, number: u64, body: Body) -> Result<Self, JournalError> {
        let path = folder.join(name(number));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| JournalError::io(&path, &error))?;
        let bytes = file.metadata().map_err(|error| JournalError::io(&path, &error))?.len();
        let (bytes, body) = (AtomicU64::new(bytes), RwLock::new(body));
        Ok(Self { number, path, file, bytes, body })
    }

    /// Its length.
    pub fn length(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Times of its records.
    pub fn span(&self) -> Span {
        match &*self.body.read() {
            Body::Live(index) => index.span,
            Body::Sealed(sidecar) => sidecar.span,
        }
    }

    /// The row of an id.
    pub fn find_id(&self, id: DecisionId) -> Result<Option<Row>, JournalError> {
        match &*self.body.read() {
            Body::Live(index) => {
                Ok(index.find_id(id.0).and_then(|row| index.columns.rows.get(row)).copied())
            }
            Body::Sealed(sidecar) => {
                let at = id.at().0;
                let span = sidecar.span;
                if at < span.id_min || at > span.id_max { Ok(None) } else { sidecar.find_id(id.0) }
            }
        }
    }

    /// The newest row of a request.
    pub fn find_request(&self, request: u128) -> Result<Option<Row>, JournalError> {
        match &*self.body.read() {
            Body::Live(index) => {
                let row = index.find_request(request);
                Ok(row.and_then(|row| index.columns.rows.get(row)).copied())
            }
            Body::Sealed(sidecar) => sidecar.find_request(request),
        }
    }

    /// An outcome by the hash of its id.
    pub fn find_outcome(&self, id: u128) -> Result<Option<OutcomeRow>, JournalError> {
        match &*self.body.read() {
            Body::Live(index) => Ok(index.find_outcome(id)),
            Body::Sealed(sidecar) => sidecar.find_outcome(id),
        }
    }

    /// Offsets of the outcomes of a target.
    pub fn outcomes_of(&self, target: u128, limit: usize) -> Result<Vec<u32>, JournalError> {
        match &*self.body.read() {
            Body::Live(index) => Ok(index.outcomes_of(target)),
            Body::Sealed(sidecar) => sidecar.outcomes_of(target, limit),
        }
    }

    /// The payload of the frame at an offset.
    pub fn payload(&self, offset: u32, kind: u8) -> Result<Vec<u8>, JournalError> {
        let at = u64::from(offset);
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                JournalError::damaged(&self.path, at, "the file ends within the record")
            }
            _ => JournalError::io(&self.path, &error),
        };
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, at).map_err(io)?;
        let header = Header::read(&header)
            .filter(|header| header.kind == kind)
            .ok_or_else(|| JournalError::damaged(&self.path, at, "no record stands there"))?;
        let mut payload = vec![0; header.length];
        self.file.read_exact_at(&mut payload, at + HEADER_BYTES as u64).map_err(io)?;
        if header.fits(&payload) {
            Ok(payload)
        } else {
            Err(JournalError::damaged(&self.path, at, "the checksum does not fit"))
        }
    }
}
