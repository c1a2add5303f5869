//! CSV texts of lists and tables, both ways, and places in them.

use csv::{ReaderBuilder, StringRecord, Trim, WriterBuilder};

use crate::definition::{ListDefinition, ListEntry, TableDefinition};
use crate::{Code, Fault, Faults, TimestampMs};

/// Reads a text whose first line names the columns.
fn records(file: &str, bytes: &[u8]) -> Result<(StringRecord, Vec<StringRecord>), Faults> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).flexible(false).from_reader(bytes);
    let place = |error: &csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let fault = Fault::new(Code::InvalidSyntax, "", error.to_string());
        fault.at(file, u32::try_from(line).unwrap_or(u32::MAX), 1)
    };
    let header = reader.headers().map_err(|error| vec![place(&error)])?.clone();
    let mut rows = Vec::new();
    let mut faults = Faults::new();
    for record in reader.records() {
        match record {
            Ok(record) => rows.push(record),
            Err(error) => faults.push(place(&error)),
        }
    }
    if faults.is_empty() { Ok((header, rows)) } else { Err(faults) }
}

fn line_of(record: &StringRecord) -> u32 {
    record.position().map_or(1, |position| u32::try_from(position.line()).unwrap_or(u32::MAX))
}

/// Reads `lists/NAME.csv`: `value`, and optionally `expires`, `comment` and qualifiers.
///
/// # Errors
/// Every fault with its line and column.
pub fn read_list(file: &str, bytes: &[u8]) -> Result<ListDefinition, Faults> {
    let (header, rows) = records(file, bytes)?;
    let Some(value_column) = header.iter().position(|column| column == "value") else {
        let message = format!("the first line must name a column `value`; it names {header:?}");
        return Err(vec![Fault::new(Code::MissingKey, "value", message).at(file, 1, 1)]);
    };
    let mut faults = Faults::new();
    let mut entries = Vec::with_capacity(rows.len());
    for (position, row) in rows.iter().enumerate() {
        let mut entry = ListEntry {
            value: row[value_column].to_owned(),
            expires: None,
            comment: None,
            qualifiers: indexmap::IndexMap::new(),
        };
        for (column, (name, cell)) in header.iter().zip(row).enumerate() {
            if cell.is_empty() || column == value_column {
                continue;
            }
            match name {
                "expires" => match TimestampMs::parse(cell) {
                    Ok(at) => entry.expires = Some(at),
                    Err(message) => {
                        let path = format!("entries[{position}].expires");
                        let fault = Fault::new(Code::InvalidValue, path, message);
                        faults.push(fault.at(file, line_of(row), column_of(bytes, row, column)));
                    }
                },
                "comment" => entry.comment = Some(cell.to_owned()),
                other => {
                    entry.qualifiers.insert(other.to_owned(), cell.to_owned());
                }
            }
        }
        entries.push(entry);
    }
    if faults.is_empty() { Ok(ListDefinition { entries }) } else { Err(faults) }
}

/// Reads `tables/NAME.csv`.
///
/// # Errors
/// Every fault with its line.
pub fn read_table(file: &str, bytes: &[u8]) -> Result<TableDefinition, Faults> {
    let (header, rows) = records(file, bytes)?;
    let cells = |record: &StringRecord| record.iter().map(str::to_owned).collect();
    Ok(TableDefinition { columns: cells(&header), rows: rows.iter().map(cells).collect() })
}

/// The place of `entries[N].KEY`, `rows[N].columns[KEY]` or `rows[N]` in a CSV text.
#[must_use]
pub fn place(bytes: &[u8], path: &str) -> Option<(u32, u32)> {
    let (header, rows) = records("", bytes).ok()?;
    let position: usize = path.split(['[', ']']).nth(1)?.parse().ok()?;
    let row = rows.get(position)?;
    let rest = path.split_once(']').map_or("", |(_, rest)| rest);
    let key = rest.trim_start_matches('.').trim_start_matches("columns");
    let key = key.trim_matches(['[', ']']);
    let column = header.iter().position(|name| name == key);
    Some((line_of(row), column.map_or(1, |column| column_of(bytes, row, column))))
}

/// Column in characters, from 1, at which a cell starts; 1 where a cell spans lines.
fn column_of(bytes: &[u8], row: &StringRecord, column: usize) -> u32 {
    let Some(start) = row.position().and_then(|place| usize::try_from(place.byte()).ok()) else {
        return 1;
    };
    let line = bytes.get(start..).unwrap_or_default();
    let (mut quoted, mut cell) = (false, 0);
    if column == 0 {
        return 1;
    }
    for (offset, byte) in line.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => cell += 1,
            b'\n' => return 1,
            _ => {}
        }
        if cell == column {
            let before = String::from_utf8_lossy(&line[..=offset]);
            return u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX);
        }
    }
    1
}

fn write(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    // Writing to memory does not fail, and every row has the header's length.
    let _ = writer.write_record(header);
    for row in rows {
        let _ = writer.write_record(&row);
    }
    writer.into_inner().unwrap_or_default()
}

/// A list as its file; columns that no entry uses are left out.
#[must_use]
pub fn write_list(list: &ListDefinition) -> Vec<u8> {
    let mut qualifiers = indexmap::IndexSet::new();
    for entry in &list.entries {
        qualifiers.extend(entry.qualifiers.keys().map(String::as_str));
    }
    let with_expires = list.entries.iter().any(|entry| entry.expires.is_some());
    let with_comment = list.entries.iter().any(|entry| entry.comment.is_some());
    let mut header = vec!["value"];
    header.extend(with_expires.then_some("expires"));
    header.extend(qualifiers.iter());
    header.extend(with_comment.then_some("comment"));
    let rows = list.entries.iter().map(|entry| {
        header
            .iter()
            .map(|column| match *column {
                "value" => entry.value.clone(),
                "expires" => entry.expires.map(|at| at.to_string()).unwrap_or_default(),
                "comment" => entry.comment.clone().unwrap_or_default(),
                other => entry.qualifiers.get(other).cloned().unwrap_or_default(),
            })
            .collect()
    });
    write(&header, rows)
}

/// A table as its file.
#[must_use]
pub fn write_table(table: &TableDefinition) -> Vec<u8> {
    let header: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    write(&header, table.rows.iter().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_to_its_file_and_back() {
        let text = "value,expires,country,comment\n\"a, b\",2026-01-01T00:00:00Z,,x\nc,,XX,\n";
        let list = read_list("l.csv", text.as_bytes()).unwrap();
        assert_eq!(list.entries[0].value, "a, b");
        assert_eq!(list.entries[1].qualifiers["country"], "XX");
        assert_eq!(read_list("l.csv", &write_list(&list)).unwrap(), list);
    }

    #[test]
    fn faults_name_line_and_column() {
        let fault = &read_list("l.csv", b"value,expires\nok,\n\"a,b\",soon\n").unwrap_err()[0];
        assert_eq!((fault.line, fault.column), (Some(3), Some(7)));
        let fault = &read_table("t.csv", b"a,b\n1,2\n3\n").unwrap_err()[0];
        assert_eq!(fault.line, Some(3));
        assert_eq!(place(b"a,b\n1,2\n3,4\n", "rows[1].columns[b]"), Some((3, 3)));
    }
}
