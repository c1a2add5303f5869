//! Data files of commands: CSV and JSON lines.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};
use verdict_config::csv::{CsvOptions, CsvText, read_csv};
use verdict_config::{Code, Fault};

use super::Failure;
use crate::reasons;

/// Records with their columns in the order in which they were first seen.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Column names.
    pub columns: Vec<String>,
    /// One object a record. CSV cells are text; empty CSV cells are absent.
    pub rows: Vec<Map<String, Json>>,
}

impl Records {
    /// The names for columns that a command adds: each as it is, or with `verdict_` before it where
    /// the file has such a column.
    ///
    /// # Errors
    /// A sentence, where the file has both.
    pub fn added_columns<const N: usize>(&self, names: [&str; N]) -> Result<[String; N], Failure> {
        let has = |name: &str| self.columns.iter().any(|column| column == name);
        let mut added = names.map(str::to_owned);
        for name in &mut added {
            if !has(name) {
                continue;
            }
            let ours = format!("verdict_{name}");
            if has(&ours) {
                return Err(Failure::new(format!(
                    "the file has the columns `{name}` and `{ours}`, so that there is no name left \
                     for ours: rename or remove one of the two"
                )));
            }
            *name = ours;
        }
        Ok(added)
    }
}

/// Reads a file's bytes.
///
/// # Errors
/// A sentence that names the file.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::new(unreadable(path, &error)))
}

/// Why a file cannot be read, and what to do.
#[must_use]
pub fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {}", path.display(), reasons::io(error))
}

/// Why a file cannot be written, and what to do.
#[must_use]
pub fn unwritable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be written: {}", path.display(), reasons::io(error))
}

/// Whether a path is the command's own standard output, which belongs to its result.
#[must_use]
pub fn is_stdout(path: &Path) -> bool {
    let names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    names.iter().any(|name| path == Path::new(name))
}

/// Checks before long work that a file can be written, and leaves nothing behind.
///
/// # Errors
/// A sentence that names the file.
pub fn check_out_file(path: &Path, is_json: bool) -> Result<(), Failure> {
    if is_json && is_stdout(path) {
        return Err(Failure::new(format!(
            "--json prints its document on standard output, so that the rows cannot go there too: \
             name a file in place of {}",
            path.display()
        )));
    }
    if path.is_dir() {
        return Err(Failure::new(format!("{} is a folder: name a file", path.display())));
    }
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    check_out_dir(folder.unwrap_or(Path::new(".")))?;
    if path.is_file() {
        let opened = std::fs::OpenOptions::new().append(true).open(path);
        opened.map_err(|error| Failure::new(unwritable(path, &error)))?;
    }
    Ok(())
}

/// Checks before long work that files can be written into a folder, which need not exist yet, and
/// leaves nothing behind.
///
/// # Errors
/// A sentence that names the folder.
pub fn check_out_dir(folder: &Path) -> Result<(), Failure> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let existing = absolute.ancestors().find(|ancestor| ancestor.exists());
    let existing: PathBuf = existing.map_or_else(|| PathBuf::from("."), Path::to_owned);
    if !existing.is_dir() {
        let text = format!("{} is not a folder: name another place", existing.display());
        return Err(Failure::new(text));
    }
    let probe = tempfile::Builder::new().prefix(".verdict-").tempfile_in(&existing);
    probe.map(drop).map_err(|error| Failure::new(unwritable(folder, &error)))
}

/// Writes a file beside its place and moves it there, so that no reader sees half of it.
///
/// # Errors
/// A sentence that names the file.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(unwritable(path, &error));
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // Devices and pipes (`--out /dev/stdout`) cannot be replaced, only written to.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(failed);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|error| {
        // A disk that is full keeps the part that did fit.
        drop(std::fs::remove_file(&partial));
        failed(error)
    })
}

/// Whether a path names JSON lines (`.jsonl`, `.ndjson`, `.json`).
#[must_use]
pub fn is_json_lines(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    matches!(ending.to_ascii_lowercase().as_str(), "jsonl" | "ndjson" | "json")
}

/// Reads records from CSV with a header line, or from JSON lines.
///
/// # Errors
/// Every fault with file and line.
pub fn read_records(path: &Path) -> Result<Records, Failure> {
    parse_records(path, &read_bytes(path)?)
}

/// The records of a file whose bytes were read.
///
/// # Errors
/// As [`read_records`].
pub fn parse_records(path: &Path, bytes: &[u8]) -> Result<Records, Failure> {
    if is_json_lines(path) { parse_json_lines(path, bytes) } else { parse_csv(path, bytes) }
}

/// Faults of a data file get the file's name, so that they are shown with their places.
#[must_use]
pub fn in_file(mut faults: Vec<Fault>, path: &Path) -> Failure {
    for fault in &mut faults {
        fault.file.get_or_insert_with(|| path.display().to_string());
    }
    Failure::Faults(faults)
}

fn parse_json_lines(path: &Path, bytes: &[u8]) -> Result<Records, Failure> {
    let mut records = Records::default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row: Map<String, Json> = serde_json::from_slice(text).map_err(|error| {
            let message = format!(
                "expected one JSON object a line, for example {{\"amount\": 12}}; {}",
                json_line_reason(&error)
            );
            let column = u32::try_from(error.column()).unwrap_or(u32::MAX).max(1);
            let fault = Fault::new(Code::InvalidSyntax, "", message);
            Failure::Faults(vec![fault.at(path.display().to_string(), line, column)])
        })?;
        for column in row.keys() {
            if !records.columns.contains(column) {
                records.columns.push(column.clone());
            }
        }
        records.rows.push(row);
    }
    Ok(records)
}

/// As [`reasons::json`], for a text of one line whose place is known.
fn json_line_reason(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    match error.classify() {
        Category::Eof => "this line ends too early (an object may not span lines)",
        Category::Data => "this line holds something else",
        Category::Syntax | Category::Io => "this line is not JSON",
    }
}

fn parse_csv(path: &Path, bytes: &[u8]) -> Result<Records, Failure> {
    let file = path.display().to_string();
    let CsvText { header, rows } = read_csv(bytes, &CsvOptions::default()).map_err(|faults| {
        let placed = faults.into_iter().map(|fault| fault.into_fault(Code::InvalidSyntax, &file));
        Failure::Faults(placed.collect())
    })?;
    let columns: Vec<String> = header.iter().map(str::to_owned).collect();
    let rows = rows.iter().map(|row| {
        let cells = columns.iter().cloned().zip(row.iter());
        let given = cells.filter(|(_, cell)| !cell.is_empty());
        given.map(|(column, cell)| (column, Json::from(cell))).collect()
    });
    Ok(Records { rows: rows.collect(), columns })
}

/// Writes records as CSV or JSON lines, as the path's ending says.
///
/// # Errors
/// A sentence that names the file.
pub fn write_records(path: &Path, records: &Records) -> Result<(), Failure> {
    let bytes = if is_json_lines(path) { to_json_lines(records) } else { to_csv(records) };
    let bytes = bytes.map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    write_bytes(path, &bytes)
}

fn to_json_lines(records: &Records) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for row in &records.rows {
        serde_json::to_writer(&mut bytes, row)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

pub(super) fn to_csv(records: &Records) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&records.columns)?;
    for row in &records.rows {
        writer.write_record(records.columns.iter().map(|column| match row.get(column) {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }))?;
    }
    Ok(writer.into_inner().map_err(|error| error.into_error())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let row: Map<String, Json> =
            serde_json::from_str(r#"{"name":"a, \"b\"\nc","amount":"1"}"#).unwrap();
        let records =
            Records { columns: vec!["name".into(), "amount".into()], rows: vec![row.clone()] };
        for name in ["rows.csv", "rows.jsonl"] {
            let path = folder.path().join("below").join(name);
            write_records(&path, &records).unwrap();
            let read = read_records(&path).unwrap();
            assert_eq!(read.rows, std::slice::from_ref(&row), "{name}");
            assert_eq!(read.columns, records.columns);
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, text: &str, line: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let Err(Failure::Faults(faults)) = read_records(&path) else { panic!("it was read") };
            assert_eq!(faults[0].line, Some(line), "{faults:?}");
            assert!(faults[0].file.as_ref().is_some_and(|file| file.ends_with(name)));
        };
        check("rows.jsonl", "{}\n\n[1]\n", 3);
        check("rows.csv", "a,b\n1,\"2\n3,4\n5,6\n", 2);
        check("rows.csv", "a;b\n1;2\n", 1);
    }

    #[test]
    fn added_columns_do_not_overwrite_those_of_the_file() {
        let records = |columns: &[&str]| Records {
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        };
        let added = records(&["a", "score"]).added_columns(["predicted", "score"]).unwrap();
        assert_eq!(added, ["predicted", "verdict_score"]);
        assert!(records(&["score", "verdict_score"]).added_columns(["score"]).is_err());
    }

    #[test]
    fn places_that_cannot_be_written_are_found_before_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(check_out_file(&file.join("below.csv"), false).is_err());
        assert!(check_out_dir(&file).is_err());
        assert!(check_out_file(folder.path(), false).is_err());
        assert!(check_out_file(Path::new("/dev/stdout"), true).is_err());
        check_out_file(&folder.path().join("new/below.csv"), false).unwrap();
        check_out_dir(&folder.path().join("new/below")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
