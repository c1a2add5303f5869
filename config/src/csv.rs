//! A strict reader of CSV, the only one of the workspace.
//!
//! Lists, tables, training data and the records of `decide` are read here. A general CSV library
//! accepts any bytes: it joins the rows behind a quote that is never closed, keeps stray quotes, and
//! takes a file separated by semicolons for one of a single column. Each of these turns into a wrong
//! decision without a word, so this reader refuses them and names the line and column.
//!
//! ```
//! use verdict_config::csv::{CsvOptions, CsvReader, CsvRecord};
//!
//! let text = "value,comment\nAcme,\"a, b\"\n";
//! let mut reader = CsvReader::new(text.as_bytes(), &CsvOptions::default()).unwrap();
//! assert_eq!(reader.header().get(1), Some("comment"));
//! let mut record = CsvRecord::default();
//! while reader.read(&mut record).unwrap() {
//!     assert_eq!(record.get(1), Some("a, b"));
//!     assert_eq!(record.place(1), (2, 6));
//! }
//! ```
//!
//! The grammar is RFC 4180 in UTF-8, with three allowances: a byte-order mark, any of the three line
//! ends, and blanks behind a closing quote. Empty lines are passed over.
//!
//! The reader is a state machine of its own and not a layer over the `csv` crate: each rule needs the
//! bytes, the quotes and the places that the crate discards, so that the layer would parse every byte
//! a second time. A property test compares both on what both accept.

use std::io::{BufRead, Chain, Cursor, Read};

use crate::{Code, Fault};

mod header;
mod recognise;
mod record;
mod scan;

pub use header::{Wanted, check_header};
pub use record::CsvRecord;

use scan::{Scanner, Step};

/// The most faults that [`read_csv`] collects from one text.
pub const FAULTS_MAX: usize = 100;

/// The bytes at the start that are looked at to recognise another format.
const HEAD_BYTES: u64 = 64 << 10;

/// Limits and habits of one kind of file.
#[derive(Debug, Clone)]
pub struct CsvOptions {
    /// The most columns.
    pub columns_max: usize,
    /// The most rows behind the header.
    pub rows_max: u64,
    /// The most bytes of a cell.
    pub cell_bytes_max: usize,
    /// The most bytes of a row.
    pub row_bytes_max: usize,
    /// Whether blanks around a cell's text are removed. Header names are always trimmed.
    pub trim: bool,
    /// Whether columns whose names begin with `#` are comments, whose names may repeat.
    pub comment_columns: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            columns_max: 4_096,
            rows_max: 100_000_000,
            cell_bytes_max: 1 << 20,
            row_bytes_max: 16 << 20,
            trim: false,
            comment_columns: false,
        }
    }
}

/// One thing that is wrong with a CSV text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvFault {
    /// Line in the text, from 1.
    pub line: u32,
    /// Column in the line in characters, from 1.
    pub column: u32,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether nothing behind it can be read.
    pub is_final: bool,
}

impl CsvFault {
    fn at((line, column): (u32, u32), message: impl Into<String>) -> Self {
        Self { line, column, message: message.into(), is_final: false }
    }

    fn last(mut self) -> Self {
        self.is_final = true;
        self
    }

    /// The same fault under a code, in a file.
    #[must_use]
    pub fn into_fault(self, code: Code, file: &str) -> Fault {
        Fault::new(code, "", self.message).at(file, self.line, self.column)
    }
}

impl std::fmt::Display for CsvFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// A reader of records, which holds one record at a time.
#[derive(Debug)]
pub struct CsvReader<R> {
    source: Chain<Cursor<Vec<u8>>, R>,
    scanner: Scanner,
    header: CsvRecord,
    options: CsvOptions,
    rows: u64,
    has_ended: bool,
}

impl<R: BufRead> CsvReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// A text of another format or encoding, an empty text, a header with an empty or repeated name.
    pub fn new(mut source: R, options: &CsvOptions) -> Result<Self, CsvFault> {
        let mut head = Vec::new();
        let read = source.by_ref().take(HEAD_BYTES).read_to_end(&mut head);
        read.map_err(|error| unreadable((1, 1), &error))?;
        recognise::refuse_other_formats(&head)?;
        let mut start = Cursor::new(head);
        if start.get_ref().starts_with(recognise::UTF8_MARK) {
            start.set_position(recognise::UTF8_MARK.len() as u64);
        }
        let mut reader = Self {
            source: start.chain(source),
            scanner: Scanner::new(options),
            header: CsvRecord::default(),
            options: options.clone(),
            rows: 0,
            has_ended: false,
        };
        let mut header = CsvRecord::default();
        if !reader.next_record(&mut header)? {
            let message = "the file is empty: write a first line that names the columns";
            return Err(CsvFault::at((1, 1), message).last());
        }
        header.trim();
        header::check_names(&header, options).map_err(CsvFault::last)?;
        reader.header = header;
        Ok(reader)
    }

    /// The names of the columns, trimmed.
    #[must_use]
    pub const fn header(&self) -> &CsvRecord {
        &self.header
    }

    /// Reads the next row into `record`; `false` at the end of the text. Reading can go on after a
    /// fault that is not final.
    ///
    /// # Errors
    /// The row's first fault.
    pub fn read(&mut self, record: &mut CsvRecord) -> Result<bool, CsvFault> {
        if !self.next_record(record)? {
            return Ok(false);
        }
        self.rows += 1;
        if self.rows > self.options.rows_max {
            self.has_ended = true;
            let message =
                format!("the file has more than {} rows: split it", self.options.rows_max);
            return Err(CsvFault::at(record.place(0), message).last());
        }
        self.check_row(record)?;
        if self.options.trim {
            record.trim();
        }
        Ok(true)
    }

    fn check_row(&self, record: &CsvRecord) -> Result<(), CsvFault> {
        let (cells, columns) = (record.len(), self.header.len());
        if cells != columns {
            return Err(CsvFault::at(record.place(0), wrong_width(record, columns)));
        }
        let repeats = columns > 1 && record.iter().map(str::trim).eq(self.header.iter());
        if repeats {
            let message = "the row repeats the header: remove it (were two files joined here?)";
            return Err(CsvFault::at(record.place(0), message));
        }
        Ok(())
    }

    fn next_record(&mut self, record: &mut CsvRecord) -> Result<bool, CsvFault> {
        while !self.has_ended {
            let chunk = match self.source.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.has_ended = true;
                    return Err(unreadable(self.scanner.place(), &error));
                }
            };
            let step = if chunk.is_empty() {
                self.has_ended = true;
                self.scanner.finish()
            } else {
                let (used, step) = self.scanner.feed(chunk);
                self.source.consume(used);
                step
            };
            match step {
                Step::More => {}
                Step::Record => {
                    self.scanner.take(record)?;
                    return Ok(true);
                }
                Step::Fault(fault) => {
                    self.has_ended |= fault.is_final;
                    return Err(fault);
                }
            }
        }
        Ok(false)
    }
}

fn unreadable(place: (u32, u32), error: &std::io::Error) -> CsvFault {
    CsvFault::at(place, format!("the file cannot be read on: {error}")).last()
}

fn wrong_width(record: &CsvRecord, columns: usize) -> String {
    let cells = record.len();
    let noun = |count: usize| if count == 1 { "cell" } else { "cells" };
    let begins = format!("the row has {cells} {}, the header has {columns}", noun(cells));
    let separated = [(';', "semicolons"), ('\t', "tabs")];
    let first = record.get(0).unwrap_or_default();
    match separated.iter().find(|(other, _)| cells == 1 && first.contains(*other)) {
        Some((_, name)) => format!("{begins}: its cells are separated by {name}; use commas"),
        None if cells > columns => format!("{begins}: put a cell that contains a comma in quotes"),
        None => format!("{begins}: add the cells that are missing (an empty one is two commas)"),
    }
}

/// A whole text: its header and its rows.
#[derive(Debug, Clone, Default)]
pub struct CsvText {
    /// The names of the columns.
    pub header: CsvRecord,
    /// The rows, each as long as the header.
    pub rows: Vec<CsvRecord>,
}

/// Reads a whole text.
///
/// # Errors
/// Every fault, at most [`FAULTS_MAX`].
pub fn read_csv(bytes: &[u8], options: &CsvOptions) -> Result<CsvText, Vec<CsvFault>> {
    let mut reader = CsvReader::new(bytes, options).map_err(|fault| vec![fault])?;
    let mut rows = Vec::new();
    let mut faults = Vec::new();
    loop {
        let mut record = CsvRecord::default();
        match reader.read(&mut record) {
            Ok(true) => rows.push(record),
            Ok(false) => break,
            Err(fault) => faults.push(fault),
        }
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    if faults.is_empty() { Ok(CsvText { header: reader.header, rows }) } else { Err(faults) }
}

/// A text for a message: short, on one line, in backticks.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(40).flat_map(visible).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

fn visible(character: char) -> Vec<char> {
    if character.is_control() || header::is_invisible(character) {
        character.escape_unicode().collect()
    } else {
        vec![character]
    }
}

#[cfg(test)]
mod tests;
