//! The state machine that splits bytes into cells.
//!
//! Bytes come in chunks and no chunk is kept, so that memory is bounded by one record.

use super::record::{Cell, CsvRecord};
use super::{CsvFault, CsvOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of the record has come.
    RecordStart,
    /// A comma has come.
    CellStart,
    /// Inside a cell without quotes.
    Plain,
    /// Inside a quoted cell.
    Quoted,
    /// A quote inside a quoted cell: its end, or the first of two.
    Quote,
    /// Blanks behind a quoted cell.
    Behind,
    /// A faulty line, up to its end.
    Skip,
}

/// What the bytes so far make.
#[derive(Debug)]
pub(super) enum Step {
    /// Not yet a record.
    More,
    /// A record, for [`Scanner::take`].
    Record,
    /// A fault in its place.
    Fault(CsvFault),
}

/// Cells of the record that is being read, and the place of the next byte.
#[derive(Debug)]
pub(super) struct Scanner {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    state: State,
    line: u32,
    column: u32,
    /// Whether the last byte was a carriage return, so that a line feed behind it ends no line.
    was_return: bool,
    /// The cell that is being read.
    start: usize,
    place: (u32, u32),
    is_quoted: bool,
    /// The fault of the line that is skipped.
    fault: Option<CsvFault>,
    columns_max: usize,
    cell_bytes_max: usize,
    row_bytes_max: usize,
}

impl Scanner {
    pub(super) const fn new(options: &CsvOptions) -> Self {
        Self {
            bytes: Vec::new(),
            cells: Vec::new(),
            state: State::RecordStart,
            line: 1,
            column: 1,
            was_return: false,
            start: 0,
            place: (1, 1),
            is_quoted: false,
            fault: None,
            columns_max: options.columns_max,
            cell_bytes_max: options.cell_bytes_max,
            row_bytes_max: options.row_bytes_max,
        }
    }

    /// Line and column of the next byte.
    pub(super) const fn place(&self) -> (u32, u32) {
        (self.line, self.column)
    }

    /// Takes bytes up to the end of a record; returns how many.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> (usize, Step) {
        let mut used = 0;
        while let Some(byte) = chunk.get(used).copied() {
            let run = self.plain_run(&chunk[used..]);
            if run > 0 {
                used += run;
                if let Some(step) = self.check_limits() {
                    return (used, step);
                }
                continue;
            }
            used += 1;
            let step = self.byte(byte);
            if !matches!(step, Step::More) {
                return (used, step);
            }
            if let Some(step) = self.check_limits() {
                return (used, step);
            }
        }
        (used, Step::More)
    }

    /// Takes the bytes at the start of a chunk that mean nothing but themselves.
    fn plain_run(&mut self, chunk: &[u8]) -> usize {
        let special: fn(&u8) -> bool = match self.state {
            State::Plain => |byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'),
            State::Quoted => |byte| matches!(byte, b'"' | b'\n' | b'\r'),
            State::Skip => |byte| matches!(byte, b'\n' | b'\r'),
            _ => return 0,
        };
        let run = &chunk[..chunk.iter().position(special).unwrap_or(chunk.len())];
        if run.is_empty() {
            return 0;
        }
        let characters = run.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        self.column = self.column.saturating_add(u32::try_from(characters).unwrap_or(u32::MAX));
        self.was_return = false;
        if self.state != State::Skip {
            self.bytes.extend_from_slice(run);
        }
        run.len()
    }

    fn check_limits(&mut self) -> Option<Step> {
        let message = if self.bytes.len() - self.start > self.cell_bytes_max {
            format!("a cell has at most {} bytes: shorten it", self.cell_bytes_max)
        } else if self.bytes.len() > self.row_bytes_max {
            format!("a row has at most {} bytes: shorten it", self.row_bytes_max)
        } else {
            return None;
        };
        let hint = if self.is_quoted { ", or close its quote" } else { "" };
        Some(Step::Fault(CsvFault::at(self.place, format!("{message}{hint}")).last()))
    }

    fn byte(&mut self, byte: u8) -> Step {
        let here = (self.line, self.column);
        let is_line_feed_behind = byte == b'\n' && self.was_return;
        self.was_return = byte == b'\r';
        match byte {
            _ if is_line_feed_behind => {}
            b'\n' | b'\r' => {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            }
            _ if byte & 0xc0 != 0x80 => self.column = self.column.saturating_add(1),
            _ => {}
        }
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::Quote,
            (State::Quoted, _) => self.bytes.push(byte),
            (_, b'\n') if is_line_feed_behind => {}
            (_, b'\n' | b'\r') => return self.end_line(),
            (State::Skip, _) => {}
            (State::RecordStart, _) => {
                self.begin_cell(here);
                self.first_byte(byte, here);
            }
            (State::CellStart, _) => self.first_byte(byte, here),
            (State::Plain, _) => self.plain_byte(byte, here),
            (State::Quote, b'"') => {
                self.bytes.push(byte);
                self.state = State::Quoted;
            }
            (State::Quote | State::Behind, b',') => self.comma(),
            (State::Quote | State::Behind, b' ' | b'\t') => self.state = State::Behind,
            (State::Quote | State::Behind, _) => {
                let (line, column) = self.place;
                let message = format!(
                    "text follows the quoted cell that begins at line {line}, column {column}: \
                     double the quotes inside the cell (\"\"), or close its quote where it ends"
                );
                return Step::Fault(CsvFault::at(here, message).last());
            }
        }
        Step::More
    }

    fn first_byte(&mut self, byte: u8, here: (u32, u32)) {
        if byte == b'"' {
            self.is_quoted = true;
            self.state = State::Quoted;
        } else {
            self.state = State::Plain;
            self.plain_byte(byte, here);
        }
    }

    fn plain_byte(&mut self, byte: u8, here: (u32, u32)) {
        match byte {
            b',' => self.comma(),
            b'"' => {
                let cell = self.bytes.get(self.start..).unwrap_or_default();
                let message = if cell.trim_ascii().is_empty() {
                    "a quote must be the first character of its cell: remove the blanks before it"
                } else {
                    "a quote inside a cell without quotes: put the whole cell in quotes and double \
                     the quotes inside it (\"\")"
                };
                self.skip(CsvFault::at(here, message));
            }
            _ => self.bytes.push(byte),
        }
    }

    /// Ignores the rest of the line for a fault, which is reported at the line's end.
    fn skip(&mut self, fault: CsvFault) {
        self.fault = Some(fault);
        self.state = State::Skip;
    }

    fn begin_cell(&mut self, place: (u32, u32)) {
        self.start = self.bytes.len();
        self.place = place;
        self.is_quoted = false;
    }

    fn end_cell(&mut self) {
        let (line, column) = self.place;
        let (start, end, is_quoted) = (self.start, self.bytes.len(), self.is_quoted);
        self.cells.push(Cell { start, end, line, column, is_quoted });
    }

    fn comma(&mut self) {
        self.end_cell();
        self.begin_cell((self.line, self.column));
        self.state = State::CellStart;
        if self.cells.len() >= self.columns_max {
            let message = format!("a row has at most {} cells: remove columns", self.columns_max);
            self.skip(CsvFault::at(self.place, message));
        }
    }

    fn end_line(&mut self) -> Step {
        if self.state == State::RecordStart {
            return Step::More;
        }
        let is_skipped = self.state == State::Skip;
        self.state = State::RecordStart;
        match self.fault.take().filter(|_| is_skipped) {
            Some(fault) => {
                self.clear();
                Step::Fault(fault)
            }
            None => {
                self.end_cell();
                Step::Record
            }
        }
    }

    /// Ends the text.
    pub(super) fn finish(&mut self) -> Step {
        if self.state == State::Quoted {
            let message = "the quote that opens here is never closed: close it where the cell \
                           ends, or double it (\"\") if it belongs to the text";
            return Step::Fault(CsvFault::at(self.place, message).last());
        }
        self.end_line()
    }

    /// Moves the cells into a record.
    pub(super) fn take(&mut self, record: &mut CsvRecord) -> Result<(), CsvFault> {
        std::mem::swap(&mut self.cells, &mut record.cells);
        let mut spare = std::mem::take(&mut record.text).into_bytes();
        std::mem::swap(&mut self.bytes, &mut spare);
        self.clear();
        let zero = spare.iter().position(|byte| *byte == 0);
        match String::from_utf8(spare) {
            Ok(text) => record.text = text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(at).copied().unwrap_or_default();
                let message = format!(
                    "the byte {byte:#04x} is not UTF-8 (the file may be in Windows-1252 or another \
                     encoding): save it as CSV in UTF-8"
                );
                let fault = CsvFault::at(place_of(&record.cells, at), message);
                record.cells.clear();
                return Err(fault);
            }
        }
        if let Some(at) = zero {
            let message = "the cell holds a character U+0000, which is no text: remove it";
            return Err(CsvFault::at(place_of(&record.cells, at), message));
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
        self.start = 0;
    }
}

/// The place of the cell that holds a byte.
fn place_of(cells: &[Cell], byte: usize) -> (u32, u32) {
    let cell = cells.iter().find(|cell| (cell.start..cell.end).contains(&byte));
    cell.map_or((1, 1), |cell| (cell.line, cell.column))
}
