//! CSV as cells, with every fault placed.

use verdict_config::model::{ColumnKind, ModelValue};
use verdict_config::{Code, Fault, Faults};

/// Faults reported at most.
pub const FAULTS_MAX: usize = 100;
/// Columns of a file at most.
const COLUMNS_MAX: usize = 4_096;
/// Rows of a file at most.
const ROWS_MAX: usize = 5_000_000;
/// What data sets write for "no value" in columns of numbers.
const NO_VALUE: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "?", "-"];

/// A file's header and records.
pub struct Cells {
    /// The header.
    pub names: Vec<String>,
    /// The rows, all as long as the header.
    pub records: Vec<csv::StringRecord>,
    /// The line of each row, from 1.
    lines: Vec<u32>,
}

/// A fault at a cell: line in the file and position of the column, both from 1.
pub fn fault_at(cells: &Cells, row: usize, column: usize, detail: &str) -> Fault {
    let name = cells.names.get(column).map_or("", String::as_str);
    let line = cells.lines.get(row).copied().unwrap_or_default();
    placed(line, column, format!("row {}, column `{name}`: {detail}", row + 1))
}

fn placed(line: u32, column: usize, message: String) -> Fault {
    let mut fault = Fault::new(Code::TrainingData, "", message);
    fault.line = Some(line);
    fault.column = Some(column as u32 + 1);
    fault
}

impl Cells {
    /// Reads a whole file.
    pub fn read(bytes: &[u8]) -> Result<Self, Faults> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut cells = Self { names: Vec::new(), records: Vec::new(), lines: Vec::new() };
        let mut faults = Faults::new();
        let mut record = csv::ByteRecord::new();
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    faults.push(Fault::new(Code::TrainingData, "", error.to_string()));
                    break;
                }
            }
            let line = record.position().map_or(0, |position| position.line() as u32);
            cells.take(&record, line, &mut faults);
            if faults.len() >= FAULTS_MAX || cells.records.len() > ROWS_MAX {
                break;
            }
        }
        if cells.names.is_empty() && faults.is_empty() {
            faults.push(Fault::new(Code::TrainingData, "", "the file is empty"));
        } else if cells.records.is_empty() && faults.is_empty() {
            faults.push(Fault::new(Code::TrainingData, "", "the file has a header but no rows"));
        } else if cells.records.len() > ROWS_MAX {
            let detail = format!("the file has more than {ROWS_MAX} rows");
            faults.push(Fault::new(Code::TrainingData, "", detail));
        }
        if faults.is_empty() { Ok(cells) } else { Err(faults) }
    }

    fn take(&mut self, record: &csv::ByteRecord, line: u32, faults: &mut Faults) {
        let header = self.names.is_empty();
        if !header && record.len() != self.names.len() {
            let detail = format!(
                "row {} has {} cells, the header has {} cells",
                self.records.len() + 1,
                record.len(),
                self.names.len()
            );
            faults.push(placed(line, 0, detail));
            return;
        }
        match csv::StringRecord::from_byte_record(record.clone()) {
            Ok(record) if header => self.take_header(&record, faults),
            Ok(record) => {
                self.records.push(record);
                self.lines.push(line);
            }
            Err(error) => {
                let field = error.utf8_error().field();
                faults.push(placed(line, field, "the cell is not UTF-8".to_owned()));
            }
        }
    }

    fn take_header(&mut self, record: &csv::StringRecord, faults: &mut Faults) {
        self.names = record.iter().map(|name| name.trim().to_owned()).collect();
        if self.names.len() > COLUMNS_MAX {
            let detail = format!("the file has more than {COLUMNS_MAX} columns");
            faults.push(Fault::new(Code::TrainingData, "", detail));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (index, name) in self.names.iter().enumerate() {
            if !seen.insert(name) {
                faults.push(placed(1, index, format!("the column `{name}` stands twice")));
            }
        }
    }

    /// The position of a column, or a fault that lists those that exist.
    pub fn column(&self, name: &str, role: &str, faults: &mut Faults) -> Option<usize> {
        let found = self.names.iter().position(|candidate| candidate == name);
        if found.is_none() {
            let known: Vec<&str> = self.names.iter().take(100).map(String::as_str).collect();
            let known = known.join(", ");
            let detail = format!("no {role} column `{name}`; the file has {known}");
            faults.push(Fault::new(Code::TrainingData, role, detail));
        }
        found
    }

    /// The kind of a column by its cells.
    pub fn infer(&self, column: usize, may_be_text: bool) -> ColumnKind {
        let cells = || self.records.iter().map(|record| record.get(column).unwrap_or_default());
        let numeric = cells().all(|cell| {
            let cell = cell.trim();
            is_no_value(cell) || cell.parse::<f64>().is_ok()
        });
        let any = cells().any(|cell| !is_no_value(cell.trim()));
        if numeric && any {
            return ColumnKind::Number;
        }
        let words: usize = cells().map(|cell| cell.split_whitespace().count()).sum();
        let distinct: std::collections::BTreeSet<&str> = cells().collect();
        let rows = self.records.len();
        let sentences = words >= 3 * rows && distinct.len() * 2 > rows && rows >= 20;
        if may_be_text && sentences { ColumnKind::Text } else { ColumnKind::Category }
    }
}

fn is_no_value(cell: &str) -> bool {
    NO_VALUE.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// A cell of a number column.
pub fn number(text: &str) -> Result<ModelValue, String> {
    let text = text.trim();
    if is_no_value(text) {
        return Ok(ModelValue::Missing);
    }
    let shown: String = text.chars().take(40).collect();
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(ModelValue::Number(number)),
        Ok(_) => Err(format!("`{shown}` is not a finite number")),
        Err(_) => Err(format!("`{shown}` is not a number")),
    }
}
