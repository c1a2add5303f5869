//! Opening a journal: the newest segment is read whole, sealed ones only by the head of their
//! sidecar, windows from their checkpoint and the records behind it. What is damaged is passed over
//! and named; what was cut at the end was never answered.

use std::path::Path;
use std::sync::Arc;

use super::events;
use super::frame::{self, FILE_HEAD_BYTES, Frames, Step};
use super::head::RecordHead;
use super::index::Index;
use super::keys::Keys;
use super::options::{Damage, JournalRecovery};
use super::segment::{self, Body, Segment};
use super::sidecar::{self, Sidecar};
use super::windows::{Position, Windows};
use super::{Clock, JournalError, JournalOptions, files, mark};

/// What a journal goes on from.
pub struct Recovered {
    pub keys: Keys,
    pub windows: Windows,
    pub segments: Vec<Arc<Segment>>,
    /// Where the next frame of the newest segment goes, and its sequence number.
    pub offset: u64,
    pub sequence: u32,
    pub report: JournalRecovery,
}

struct Recovery<'a> {
    folder: &'a Path,
    clock: &'a Clock,
    windows: Windows,
    /// Records from here on are counted in windows.
    windows_from: Position,
    keys: Keys,
    /// The segment that was written.
    newest: u64,
    report: JournalRecovery,
}

/// One segment's bytes, read.
struct Scanned {
    index: Index,
    /// The end of the last whole frame.
    end: u64,
    next_sequence: u32,
    /// Whether frames stand behind damaged bytes.
    has_gap: bool,
}

/// Opens what is in a folder, which is locked.
pub fn recover(
    folder: &Path,
    options: &JournalOptions,
    clock: &Clock,
) -> Result<Recovered, JournalError> {
    let numbers = files::numbered(folder, "segment", ".vj")?;
    let newest = numbers.last().copied().unwrap_or(0);
    for orphan in files::numbered(folder, "segment", ".vx")? {
        if !numbers.contains(&orphan) {
            let path = folder.join(sidecar::name(orphan));
            std::fs::remove_file(&path).map_err(|error| JournalError::io(&path, &error))?;
        }
    }
    let (keys, keys_damaged) = Keys::open(folder, newest)?;
    let windows = Windows::new(options.window_series_max);
    let mut recovery = Recovery {
        folder,
        clock,
        windows,
        windows_from: (0, 0),
        keys,
        newest,
        report: JournalRecovery::default(),
    };
    if keys_damaged > 0 {
        let detail = format!("{keys_damaged} keys of units cannot be read");
        recovery.damage("keys/units", 0, 0, None, detail);
    }
    recovery.load_windows();
    recovery.segments(&numbers)
}

impl Recovery<'_> {
    fn damage(
        &mut self,
        file: &str,
        offset: u64,
        bytes: u64,
        records: Option<u64>,
        detail: String,
    ) {
        let file = file.to_owned();
        self.report.damage.push(Damage { file, offset, bytes, records, detail });
    }

    fn load_windows(&mut self) {
        match self.windows.load(self.folder) {
            Ok(Some((position, series))) => {
                self.windows_from = position;
                self.report.window_series = series;
            }
            Ok(None) => {}
            Err(detail) => {
                let detail = format!("{detail}; windows are counted again from every record");
                self.damage("windows.checkpoint", 0, 0, None, detail);
            }
        }
    }

    fn segments(mut self, numbers: &[u64]) -> Result<Recovered, JournalError> {
        let mut segments = Vec::new();
        let (mut offset, mut sequence) = (FILE_HEAD_BYTES as u64, 0);
        for (position, &number) in numbers.iter().enumerate() {
            let is_newest = position + 1 == numbers.len();
            if is_newest {
                let (segment, end) = self.newest(number)?;
                segments.push(Arc::new(segment));
                match end {
                    Some(end) => (offset, sequence) = end,
                    None => segments.push(Arc::new(self.begin(number + 1)?)),
                }
            } else {
                segments.push(Arc::new(self.sealed(number)?));
            }
        }
        if segments.is_empty() {
            segments.push(Arc::new(self.begin(1)?));
        }
        files::sync_folder(self.folder)?;
        self.report.segments = segments.len() as u64;
        self.report.window_series = self.windows.len();
        let Recovery { keys, windows, report, .. } = self;
        Ok(Recovered { keys, windows, segments, offset, sequence, report })
    }

    fn begin(&self, number: u64) -> Result<Segment, JournalError> {
        let segment = Segment::create(self.folder, number)?;
        segment.file.sync_all().map_err(|error| JournalError::io(&segment.path, &error))?;
        Ok(segment)
    }

    /// A segment that was full. It is read only if its sidecar is gone, or windows need it.
    fn sealed(&mut self, number: u64) -> Result<Segment, JournalError> {
        let path = self.folder.join(segment::name(number));
        let bytes =
            std::fs::metadata(&path).map_err(|error| JournalError::io(&path, &error))?.len();
        let sidecar = Sidecar::open(self.folder, number, bytes);
        if let Some(sidecar) = sidecar {
            if self.windows_from.0 <= number {
                self.scan(number)?;
            }
            return Segment::open(self.folder, number, Body::Sealed(sidecar));
        }
        let scanned = self.scan(number)?;
        if let Some(claimed) = Sidecar::described_bytes(self.folder, number).filter(|c| *c > bytes)
        {
            let detail = "the segment was longer when it was sealed".to_owned();
            self.damage(&segment::name(number), bytes, claimed - bytes, None, detail);
        }
        self.report.indexes_rebuilt += 1;
        sidecar::write(self.folder, number, bytes, &scanned.index)?;
        let body = match Sidecar::open(self.folder, number, bytes) {
            Some(sidecar) => Body::Sealed(sidecar),
            None => Body::Live(scanned.index),
        };
        Segment::open(self.folder, number, body)
    }

    /// The segment that was written. Its end is cut where a write was torn; if frames stand behind
    /// damaged bytes, it is left as it is and a new one begins (no end is given).
    fn newest(&mut self, number: u64) -> Result<(Segment, Option<(u64, u32)>), JournalError> {
        let marked = mark::read(self.folder);
        let scanned = self.scan(number)?;
        let (end, sequence, has_gap) = (scanned.end, scanned.next_sequence, scanned.has_gap);
        let mut segment = Segment::open(self.folder, number, Body::Live(scanned.index))?;
        if let Some((marked_number, marked_bytes)) = marked
            && marked_number == number
            && marked_bytes > end
        {
            let detail = "the end of the segment was durable and is gone".to_owned();
            self.damage(&segment::name(number), end, marked_bytes - end, None, detail);
        }
        if let Some((marked_number, _)) = marked
            && marked_number > number
        {
            let detail = format!("segment {marked_number} was durable and is gone");
            self.damage(&segment::name(marked_number), 0, 0, None, detail);
        }
        if has_gap {
            return Ok((segment, None));
        }
        let torn = segment.length().saturating_sub(end);
        if torn > 0 || end < segment.length() {
            segment.file.set_len(end).map_err(|error| JournalError::io(&segment.path, &error))?;
            self.report.torn_bytes = torn;
        }
        *segment.bytes.get_mut() = end;
        segment.file.sync_all().map_err(|error| JournalError::io(&segment.path, &error))?;
        if end < FILE_HEAD_BYTES as u64 {
            // The head itself was torn: the segment was being made.
            return Ok((Segment::create(self.folder, number)?, Some((FILE_HEAD_BYTES as u64, 0))));
        }
        Ok((segment, Some((end, sequence))))
    }

    /// Reads a whole segment: its index, and the windows' events that no checkpoint holds.
    fn scan(&mut self, number: u64) -> Result<Scanned, JournalError> {
        let name = segment::name(number);
        let path = self.folder.join(&name);
        let bytes = std::fs::read(&path).map_err(|error| JournalError::io(&path, &error))?;
        let mut scanned =
            Scanned { index: Index::default(), end: 0, next_sequence: 0, has_gap: false };
        if bytes.starts_with(&frame::file_head(number)) {
            scanned.end = FILE_HEAD_BYTES as u64;
        } else if bytes.len() <= FILE_HEAD_BYTES {
            return Ok(scanned);
        } else {
            let detail = "the head of the file is damaged; its records are read all the same";
            self.damage(&name, 0, FILE_HEAD_BYTES as u64, Some(0), detail.to_owned());
            scanned.has_gap = true;
        }
        for step in Frames::new(&bytes, FILE_HEAD_BYTES) {
            self.take(number, step, &mut scanned);
        }
        Ok(scanned)
    }

    fn take(&mut self, number: u64, step: Step<'_>, scanned: &mut Scanned) {
        let name = segment::name(number);
        match step {
            Step::Frame { at, header, payload } => {
                self.report.records_read += 1;
                let offset = u32::try_from(at).unwrap_or(u32::MAX);
                let taken = scanned.index.push_frame(header.kind, payload, offset);
                let bytes = (frame::HEADER_BYTES + payload.len()) as u64;
                match taken {
                    Ok(Some(head)) if (number, at as u64) >= self.windows_from => {
                        self.count(&head, &name, at as u64);
                    }
                    Ok(_) => {}
                    Err(detail) => self.damage(&name, at as u64, bytes, Some(1), detail),
                }
                scanned.end = at as u64 + bytes;
                scanned.next_sequence = header.sequence.wrapping_add(1);
            }
            Step::Gap { at, bytes, next_sequence: Some(next) } => {
                let lost = u64::from(next.wrapping_sub(scanned.next_sequence));
                let detail = format!("{lost} record(s) cannot be read");
                self.damage(&name, at as u64, bytes as u64, Some(lost), detail);
                scanned.has_gap = true;
                scanned.next_sequence = next;
            }
            // At the end of the newest segment a write was torn; the caller cuts it.
            Step::Gap { .. } if number == self.newest => {}
            Step::Gap { at, bytes, .. } => {
                let detail = "the end of the segment cannot be read".to_owned();
                self.damage(&name, at as u64, bytes as u64, None, detail);
            }
        }
    }

    /// Counts the events of a record that no checkpoint holds.
    fn count(&mut self, head: &RecordHead, name: &str, at: u64) {
        if head.windows.is_empty() {
            return;
        }
        match events::decode(&self.keys, head.id, &head.windows) {
            Some(events) => self.windows.note(&events, (self.clock)()),
            None => {
                let detail = "window events of a record cannot be read";
                self.damage(name, at, 0, Some(0), detail.to_owned());
            }
        }
    }
}
