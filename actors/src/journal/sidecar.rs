//! The index of a sealed segment: a file beside it, of which only a head and filters stay in memory.
//!
//! `[head][crc32 of the head]` and sections, each with its place, length and checksum in the head:
//! filters of ids, requests and outcome ids; these sorted, with row numbers; outcomes by target; rows;
//! reasons; names; outcomes. A lookup asks the filter, then searches one section by halves.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::bloom::Bloom;
use super::columns::{Columns, Row};
use super::index::{Index, OutcomeRow, Span};
use super::{JournalError, files};

const MAGIC: [u8; 8] = *b"VERDICTX";
const VERSION: u32 = 1;
const SECTIONS: usize = 11;
const HEAD_BYTES: usize = 8 + 4 + 4 + 8 + 4 * 8 + SECTIONS * 16 + 4;
/// Where the head says how long the segment is: behind magic, version and a gap.
const SEGMENT_BYTES_AT: usize = 16;
const ENTRY_BYTES: usize = 20;
const ROW_BYTES: usize = 72;
const OUTCOME_BYTES: usize = 52;

const ID_FILTER: usize = 0;
const REQUEST_FILTER: usize = 1;
const OUTCOME_FILTER: usize = 2;
const TARGET_FILTER: usize = 3;
const IDS: usize = 4;
const REQUESTS: usize = 5;
const OUTCOME_IDS: usize = 6;
const TARGETS: usize = 7;
const ROWS: usize = 8;
const NAMES: usize = 9;
const OUTCOMES: usize = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Section {
    start: u64,
    length: u32,
    checksum: u32,
}

/// A sidecar that is open.
#[derive(Debug)]
pub struct Sidecar {
    file: File,
    path: PathBuf,
    sections: [Section; SECTIONS],
    filters: [Bloom; 4],
    pub span: Span,
}

/// The name of a segment's sidecar.
pub fn name(number: u64) -> String {
    format!("segment-{number:010}.vx")
}

/// Writes the sidecar of an index. `segment_bytes` ties it to the file it describes.
pub fn write(
    folder: &Path,
    number: u64,
    segment_bytes: u64,
    index: &Index,
) -> Result<(), JournalError> {
    let columns = &index.columns;
    let ids = sorted(columns.rows.iter().map(|row| row.id));
    let requests = sorted(columns.rows.iter().map(|row| row.request));
    let outcome_ids = sorted(index.outcomes.iter().map(|row| row.id));
    let targets = sorted(index.outcomes.iter().map(|row| row.target));
    let requests: Vec<_> = requests.into_iter().filter(|(request, _)| *request != 0).collect();
    let filter =
        |entries: &[(u128, u32)]| Bloom::of(entries.iter().map(|(key, _)| *key)).to_bytes();
    let parts: [Vec<u8>; SECTIONS] = [
        filter(&ids),
        filter(&requests),
        filter(&outcome_ids),
        filter(&targets),
        entries(&ids),
        entries(&requests),
        entries(&outcome_ids),
        entries(&targets),
        columns.rows.iter().flat_map(row_bytes).collect(),
        names_bytes(columns),
        index.outcomes.iter().flat_map(outcome_bytes).collect(),
    ];
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&segment_bytes.to_le_bytes());
    for time in [index.span.at_min, index.span.at_max, index.span.id_min, index.span.id_max] {
        head.extend_from_slice(&time.to_le_bytes());
    }
    let mut start = HEAD_BYTES as u64;
    for part in &parts {
        head.extend_from_slice(&start.to_le_bytes());
        head.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(part).to_le_bytes());
        start += part.len() as u64;
    }
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    files::write_whole(folder, &name(number), &[head, parts.concat()].concat())
}

fn sorted(keys: impl Iterator<Item = u128>) -> Vec<(u128, u32)> {
    let mut entries: Vec<(u128, u32)> = keys.zip(0u32..).collect();
    entries.sort_unstable();
    entries
}

fn entries(entries: &[(u128, u32)]) -> Vec<u8> {
    let bytes = |(key, row): &(u128, u32)| {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&key.to_le_bytes());
        bytes[16..].copy_from_slice(&row.to_le_bytes());
        bytes
    };
    entries.iter().flat_map(bytes).collect()
}

fn row_bytes(row: &Row) -> [u8; ROW_BYTES] {
    let mut bytes = [0; ROW_BYTES];
    bytes[..16].copy_from_slice(&row.id.to_le_bytes());
    bytes[16..32].copy_from_slice(&row.request.to_le_bytes());
    bytes[32..48].copy_from_slice(&row.body.to_le_bytes());
    bytes[48..56].copy_from_slice(&row.at_ms.to_le_bytes());
    bytes[56..60].copy_from_slice(&row.offset.to_le_bytes());
    bytes[60..64].copy_from_slice(&row.reasons_start.to_le_bytes());
    bytes[64..66].copy_from_slice(&row.flow.to_le_bytes());
    bytes[66..68].copy_from_slice(&row.reasons.to_le_bytes());
    (bytes[68], bytes[69]) = (row.outcome, u8::from(row.test));
    bytes
}

/// Little-endian numbers of a fixed record of bytes.
struct Fields<'bytes>(&'bytes [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.0 = rest;
                *taken
            }
            None => [0; N],
        }
    }
}

fn row_of(bytes: &[u8; ROW_BYTES]) -> Row {
    let mut fields = Fields(bytes);
    Row {
        id: u128::from_le_bytes(fields.take()),
        request: u128::from_le_bytes(fields.take()),
        body: u128::from_le_bytes(fields.take()),
        at_ms: i64::from_le_bytes(fields.take()),
        offset: u32::from_le_bytes(fields.take()),
        reasons_start: u32::from_le_bytes(fields.take()),
        flow: u16::from_le_bytes(fields.take()),
        reasons: u16::from_le_bytes(fields.take()),
        outcome: u8::from_le_bytes(fields.take()),
        test: fields.take::<1>() != [0],
    }
}

fn outcome_bytes(row: &OutcomeRow) -> [u8; OUTCOME_BYTES] {
    let mut bytes = [0; OUTCOME_BYTES];
    bytes[..16].copy_from_slice(&row.id.to_le_bytes());
    bytes[16..32].copy_from_slice(&row.body.to_le_bytes());
    bytes[32..48].copy_from_slice(&row.target.to_le_bytes());
    bytes[48..].copy_from_slice(&row.offset.to_le_bytes());
    bytes
}

fn outcome_of(bytes: &[u8; OUTCOME_BYTES]) -> OutcomeRow {
    let mut fields = Fields(bytes);
    OutcomeRow {
        id: u128::from_le_bytes(fields.take()),
        body: u128::from_le_bytes(fields.take()),
        target: u128::from_le_bytes(fields.take()),
        offset: u32::from_le_bytes(fields.take()),
    }
}

/// `[count u32]` names with their lengths, then the reasons' numbers.
fn names_bytes(columns: &Columns) -> Vec<u8> {
    let mut bytes = u32::try_from(columns.names.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for name in &columns.names {
        super::head::push_part(&mut bytes, name.as_bytes());
    }
    bytes.extend(columns.reasons.iter().flat_map(|reason| reason.to_le_bytes()));
    bytes
}

fn names_of(bytes: &[u8]) -> Option<(Vec<String>, Vec<u16>)> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut names = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (name, behind) = super::head::split_part(rest)?;
        names.push(String::from_utf8(name.to_vec()).ok()?);
        rest = behind;
    }
    let reasons = rest.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
    Some((names, reasons))
}

/// Reads and checks a head.
fn read_head(file: &File) -> Option<[u8; HEAD_BYTES]> {
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, 0).ok()?;
    let (body, checksum) = head.split_last_chunk::<4>()?;
    let whole = crc32fast::hash(body) == u32::from_le_bytes(*checksum);
    let mut fields = Fields(body);
    let known = fields.take::<8>() == MAGIC && u32::from_le_bytes(fields.take()) == VERSION;
    (whole && known).then_some(head)
}

impl Sidecar {
    /// How long the segment was that a sidecar describes.
    pub fn described_bytes(folder: &Path, number: u64) -> Option<u64> {
        let head = read_head(&File::open(folder.join(name(number))).ok()?)?;
        Some(u64::from_le_bytes(Fields(&head[SEGMENT_BYTES_AT..]).take()))
    }

    /// Opens the sidecar of a segment of a length. `None` if there is none that is whole.
    pub fn open(folder: &Path, number: u64, segment_bytes: u64) -> Option<Self> {
        let path = folder.join(name(number));
        let file = File::open(&path).ok()?;
        let head = read_head(&file)?;
        let mut fields = Fields(&head[SEGMENT_BYTES_AT..]);
        if u64::from_le_bytes(fields.take()) != segment_bytes {
            return None;
        }
        let span = Span {
            at_min: i64::from_le_bytes(fields.take()),
            at_max: i64::from_le_bytes(fields.take()),
            id_min: i64::from_le_bytes(fields.take()),
            id_max: i64::from_le_bytes(fields.take()),
        };
        let sections = std::array::from_fn(|_| Section {
            start: u64::from_le_bytes(fields.take()),
            length: u32::from_le_bytes(fields.take()),
            checksum: u32::from_le_bytes(fields.take()),
        });
        let mut sidecar = Self { file, path, sections, filters: Default::default(), span };
        for filter in [ID_FILTER, REQUEST_FILTER, OUTCOME_FILTER, TARGET_FILTER] {
            sidecar.filters[filter] = Bloom::from_bytes(&sidecar.section(filter).ok()?);
        }
        Some(sidecar)
    }

    /// Reads and checks a whole section.
    fn section(&self, section: usize) -> Result<Vec<u8>, JournalError> {
        let Section { start, length, checksum } = self.sections[section];
        let mut bytes = vec![0; length as usize];
        self.read_at(&mut bytes, start)?;
        if crc32fast::hash(&bytes) != checksum {
            let detail =
                format!("section {section} of the index; it is built again at the next start");
            // Out of the way, so that the next start builds it.
            let _ = std::fs::rename(&self.path, self.path.with_extension("vx.damaged"));
            return Err(JournalError::damaged(&self.path, start, detail));
        }
        Ok(bytes)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), JournalError> {
        self.file.read_exact_at(bytes, at).map_err(|error| JournalError::io(&self.path, &error))
    }

    fn count(&self, section: usize, each: usize) -> usize {
        self.sections[section].length as usize / each
    }

    fn entry(&self, section: usize, at: usize) -> Result<(u128, u32), JournalError> {
        let mut bytes = [0; ENTRY_BYTES];
        self.read_at(&mut bytes, self.sections[section].start + (at * ENTRY_BYTES) as u64)?;
        let mut fields = Fields(&bytes);
        Ok((u128::from_le_bytes(fields.take()), u32::from_le_bytes(fields.take())))
    }

    /// The rows of a key in a sorted section, at most `limit`.
    fn lookup(
        &self,
        (filter, section): (usize, usize),
        key: u128,
        limit: usize,
    ) -> Result<Vec<usize>, JournalError> {
        if !self.filters[filter].may_hold(key) {
            return Ok(Vec::new());
        }
        let count = self.count(section, ENTRY_BYTES);
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(section, middle)?.0 < key { low = middle + 1 } else { high = middle }
        }
        let mut rows = Vec::new();
        while low < count && rows.len() < limit {
            let (found, row) = self.entry(section, low)?;
            if found != key {
                break;
            }
            rows.push(row as usize);
            low += 1;
        }
        Ok(rows)
    }

    fn row(&self, row: usize) -> Result<Row, JournalError> {
        let mut bytes = [0; ROW_BYTES];
        self.read_at(&mut bytes, self.sections[ROWS].start + (row * ROW_BYTES) as u64)?;
        Ok(row_of(&bytes))
    }

    fn outcome(&self, row: usize) -> Result<OutcomeRow, JournalError> {
        let mut bytes = [0; OUTCOME_BYTES];
        self.read_at(&mut bytes, self.sections[OUTCOMES].start + (row * OUTCOME_BYTES) as u64)?;
        Ok(outcome_of(&bytes))
    }

    /// The row of an id.
    pub fn find_id(&self, id: u128) -> Result<Option<Row>, JournalError> {
        let row = self.lookup((ID_FILTER, IDS), id, 1)?.first().copied();
        row.map(|row| self.row(row)).transpose()
    }

    /// The newest row of a request.
    pub fn find_request(&self, request: u128) -> Result<Option<Row>, JournalError> {
        // Equal keys stand in the order of their rows; a request has more than one row only if it
        // was forgotten in between, which takes longer than a segment but for the smallest.
        let rows = self.lookup((REQUEST_FILTER, REQUESTS), request, 1_000)?;
        rows.last().map(|row| self.row(*row)).transpose()
    }

    /// An outcome by the hash of its id.
    pub fn find_outcome(&self, id: u128) -> Result<Option<OutcomeRow>, JournalError> {
        let row = self.lookup((OUTCOME_FILTER, OUTCOME_IDS), id, 1)?.first().copied();
        row.map(|row| self.outcome(row)).transpose()
    }

    /// Offsets of the outcomes of a target.
    pub fn outcomes_of(&self, target: u128, limit: usize) -> Result<Vec<u32>, JournalError> {
        let rows = self.lookup((TARGET_FILTER, TARGETS), target, limit)?;
        rows.into_iter().map(|row| self.outcome(row).map(|outcome| outcome.offset)).collect()
    }

    /// What a search reads.
    pub fn columns(&self) -> Result<Columns, JournalError> {
        let rows = self.section(ROWS)?.as_chunks::<ROW_BYTES>().0.iter().map(row_of).collect();
        let names = self.section(NAMES)?;
        let (names, reasons) = names_of(&names).ok_or_else(|| {
            JournalError::damaged(&self.path, self.sections[NAMES].start, "names of the index")
        })?;
        Ok(Columns { rows, reasons, names })
    }
}
