//! Data files of commands: CSV and JSON lines.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::Failure;

/// Records with their columns in the order in which they were first seen.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Column names.
    pub columns: Vec<String>,
    /// One object a record. CSV cells are text; empty CSV cells are absent.
    pub rows: Vec<Map<String, Json>>,
}

/// Reads a file's bytes.
///
/// # Errors
/// A sentence that names the file.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))
}

/// Writes a file beside its place and moves it there, so that nobody reads half of it.
///
/// # Errors
/// A sentence that names the file.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("{} cannot be written: {error}", path.display()))
    };
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
    std::fs::write(&partial, bytes).map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
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
/// A sentence that names the file and the line.
pub fn read_records(path: &Path) -> Result<Records, Failure> {
    let bytes = read_bytes(path)?;
    if is_json_lines(path) { read_json_lines(path, &bytes) } else { read_csv(path, &bytes) }
}

fn read_json_lines(path: &Path, bytes: &[u8]) -> Result<Records, Failure> {
    let mut records = Records::default();
    for (position, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row: Map<String, Json> = serde_json::from_slice(line).map_err(|error| {
            let place = format!("{}:{}", path.display(), position + 1);
            Failure::new(format!("{place}: expected one JSON object a line: {error}"))
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

fn read_csv(path: &Path, bytes: &[u8]) -> Result<Records, Failure> {
    let failed = |error: csv::Error| Failure::new(format!("{}: {error}", path.display()));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::Reader::from_reader(bytes);
    let columns: Vec<String> =
        reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        let cells = columns.iter().cloned().zip(record.iter());
        rows.push(
            cells
                .filter(|(_, cell)| !cell.is_empty())
                .map(|(column, cell)| (column, Json::from(cell)))
                .collect(),
        );
    }
    Ok(Records { columns, rows })
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

fn to_csv(records: &Records) -> anyhow::Result<Vec<u8>> {
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
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "{}\n\n[1]\n").unwrap();
        let Err(Failure::Failed(text)) = read_records(&path) else { panic!("it was read") };
        assert!(text.contains("rows.jsonl:3"), "{text}");
    }
}
