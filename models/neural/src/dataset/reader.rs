//! Cells of a CSV file, with the place of every fault.

use verdict_config::csv::{CsvOptions, CsvReader, CsvRecord};
use verdict_config::model::ModelValue;
use verdict_config::{Code, Fault, Faults};

/// Faults reported at most.
pub const FAULTS_MAX: usize = 100;
/// Columns of a file at most.
const COLUMNS_MAX: usize = 4_096;
/// Rows of a file at most.
const ROWS_MAX: u64 = 5_000_000;
/// What data sets write for "no value" in columns of numbers.
const NO_VALUE: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "?", "-"];

/// A file's header and records.
pub struct Cells {
    /// The header.
    pub names: Vec<String>,
    /// The rows, all as long as the header.
    pub records: Vec<CsvRecord>,
}

/// A fault at a cell, with the cell's line and column in the file.
pub fn fault_at(cells: &Cells, row: usize, column: usize, detail: &str) -> Fault {
    let name = cells.names.get(column).map_or("", String::as_str);
    let mut fault = Fault::new(Code::TrainingData, "", format!("column `{name}`: {detail}"));
    if let Some(record) = cells.records.get(row) {
        let (line, character) = record.place(column);
        fault.line = Some(line);
        fault.column = Some(character);
    }
    fault
}

impl Cells {
    /// Reads a whole file.
    pub fn read(bytes: &[u8]) -> Result<Self, Faults> {
        let options =
            CsvOptions { columns_max: COLUMNS_MAX, rows_max: ROWS_MAX, ..CsvOptions::default() };
        let placed = |fault: verdict_config::csv::CsvFault| {
            let mut placed = Fault::new(Code::TrainingData, "", fault.message);
            placed.line = Some(fault.line);
            placed.column = Some(fault.column);
            placed
        };
        let mut reader = CsvReader::new(bytes, &options).map_err(|fault| vec![placed(fault)])?;
        let names = reader.header().iter().map(str::to_owned).collect();
        let mut cells = Self { names, records: Vec::new() };
        let mut faults = Faults::new();
        while faults.len() < FAULTS_MAX {
            let mut record = CsvRecord::default();
            match reader.read(&mut record) {
                Ok(true) => cells.records.push(record),
                Ok(false) => break,
                Err(fault) => faults.push(placed(fault)),
            }
        }
        if cells.records.is_empty() && faults.is_empty() {
            let message = "the file has a header but no rows: add at least one row";
            faults.push(Fault::new(Code::TrainingData, "", message));
        }
        if faults.is_empty() { Ok(cells) } else { Err(faults) }
    }

    /// The position of a column, or a fault that lists those that exist.
    pub fn column(&self, name: &str, role: &str, faults: &mut Faults) -> Option<usize> {
        let found = self.names.iter().position(|candidate| candidate == name);
        if found.is_none() {
            let names = || self.names.iter().map(String::as_str);
            let known: Vec<&str> = names().take(100).collect();
            let near = verdict_config::spelling::nearest(name, names());
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            let detail =
                format!("no {role} column `{name}`{near}; the file has {}", known.join(", "));
            faults.push(Fault::new(Code::TrainingData, role, detail));
        }
        found
    }

    /// The cells of a column with their lines.
    pub fn cells(&self, column: usize) -> impl Iterator<Item = (u32, &str)> {
        self.records
            .iter()
            .map(move |record| (record.place(column).0, record.get(column).unwrap_or_default()))
    }
}

/// Whether a cell says that there is no value.
pub fn is_no_value(cell: &str) -> bool {
    NO_VALUE.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// A cell of a number column. Truth values count as 1 and 0, as a flow's `bool` fields do.
pub fn number(text: &str) -> Result<ModelValue, String> {
    let text = text.trim();
    if is_no_value(text) {
        return Ok(ModelValue::Missing);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(ModelValue::Number(number)),
        Ok(_) => Err(format!("{} is not a finite number", shown(text))),
        Err(_) => match truth(text) {
            Some(truth) => Ok(ModelValue::Number(f64::from(u8::from(truth)))),
            None => Err(format!(
                "{} is not a number: write it like 1234.5, or leave the cell empty",
                shown(text)
            )),
        },
    }
}

fn truth(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 2]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match (is_one_of(["true", "yes"]), is_one_of(["false", "no"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        (false, false) => None,
    }
}

/// The start of a cell in backticks.
pub fn shown(text: &str) -> String {
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let start: String = text.chars().take(40).map(plain).collect();
    format!("`{start}`")
}
