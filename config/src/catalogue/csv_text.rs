//! CSV texts of lists and tables, both ways, and places in them.

use ::csv::WriterBuilder;

use crate::csv::{CsvFault, CsvOptions, CsvRecord, CsvText, Wanted, check_header, read_csv};
use crate::definition::{ListDefinition, ListEntry, TableDefinition};
use crate::{Code, Fault, Faults, TimestampMs};

/// Qualifiers that `name_match` reads, and the one that lists of snoozed rules have.
pub(crate) const QUALIFIERS: [&str; 4] = ["country", "identifier", "aliases", "rule"];

/// What people call the columns of a list.
const SYNONYMS: [(&str, &str); 15] = [
    ("name", "value"),
    ("entry", "value"),
    ("expiry", "expires"),
    ("expired", "expires"),
    ("expiration", "expires"),
    ("expiration_date", "expires"),
    ("expiry_date", "expires"),
    ("expires_at", "expires"),
    ("expires_on", "expires"),
    ("valid_until", "expires"),
    ("until", "expires"),
    ("aka", "aliases"),
    ("also_known_as", "aliases"),
    ("alternative_name", "aliases"),
    ("country_code", "country"),
];

fn options() -> CsvOptions {
    CsvOptions { trim: true, comment_columns: true, ..CsvOptions::default() }
}

fn records(file: &str, bytes: &[u8]) -> Result<CsvText, Faults> {
    read_csv(bytes, &options()).map_err(|found| placed(file, found))
}

fn placed(file: &str, found: Vec<CsvFault>) -> Faults {
    found.into_iter().map(|fault| fault.into_fault(Code::InvalidSyntax, file)).collect()
}

/// A fault for each cell that goes over lines, where that is no comment: it is most often the text
/// between two quotes that were never closed.
fn refuse_line_breaks(file: &str, text: &CsvText, is_comment: impl Fn(&str) -> bool) -> Faults {
    let mut faults = Faults::new();
    for row in &text.rows {
        for (column, (name, cell)) in text.header.iter().zip(row.iter()).enumerate() {
            if cell.contains(['\n', '\r']) && !is_comment(name) {
                let message = "the quoted cell goes over several lines: close its quote in the \
                               line where it opens";
                let (line, place) = row.place(column);
                let fault = Fault::new(Code::InvalidSyntax, "", message);
                faults.push(fault.at(file, line, place));
            }
        }
        if faults.len() >= crate::csv::FAULTS_MAX {
            break;
        }
    }
    faults
}

/// Reads `lists/NAME.csv`: `value`, and optionally `expires`, `comment` and qualifiers. Columns that
/// nothing reads become remarks.
///
/// # Errors
/// Every fault with its line and column.
pub fn read_list(file: &str, bytes: &[u8], remarks: &mut Faults) -> Result<ListDefinition, Faults> {
    let text = records(file, bytes)?;
    let known: Vec<&str> = ["expires", "comment"].into_iter().chain(QUALIFIERS).collect();
    let wanted = Wanted { required: &["value"], known: &known, synonyms: &SYNONYMS };
    let others = check_header(&text.header, &wanted).map_err(|found| {
        let mut faults = placed(file, found);
        faults.iter_mut().for_each(|fault| fault.code = Code::UnknownKey);
        faults
    })?;
    for column in others {
        let name = text.header.get(column).unwrap_or_default();
        let message = format!(
            "nothing reads the column {}: lists have value, expires, country, identifier, aliases \
             and comment",
            crate::csv::shown(name)
        );
        let (line, place) = text.header.place(column);
        remarks.push(Fault::new(Code::UnknownKey, "", message).at(file, line, place));
    }
    let mut faults = refuse_line_breaks(file, &text, |name| name == "comment");
    let mut entries = Vec::with_capacity(text.rows.len());
    for row in &text.rows {
        match read_entry(&text.header, row) {
            Ok(entry) => entries.push(entry),
            Err((column, message)) => {
                let (line, place) = row.place(column);
                let path = format!("entries[{}].expires", entries.len());
                let fault = Fault::new(Code::InvalidValue, path, message);
                faults.push(fault.at(file, line, place));
            }
        }
    }
    if faults.is_empty() { Ok(ListDefinition { entries }) } else { Err(faults) }
}

/// Reads a row; a fault has the position of its column.
fn read_entry(header: &CsvRecord, row: &CsvRecord) -> Result<ListEntry, (usize, String)> {
    let mut entry = ListEntry {
        value: String::new(),
        expires: None,
        comment: None,
        qualifiers: indexmap::IndexMap::new(),
    };
    for (column, (name, cell)) in header.iter().zip(row.iter()).enumerate() {
        match name {
            _ if cell.is_empty() => {}
            "value" => cell.clone_into(&mut entry.value),
            "expires" => {
                entry.expires =
                    Some(TimestampMs::parse(cell).map_err(|message| (column, message))?);
            }
            "comment" => entry.comment = Some(cell.to_owned()),
            other => {
                entry.qualifiers.insert(other.to_owned(), cell.to_owned());
            }
        }
    }
    Ok(entry)
}

/// Reads `tables/NAME.csv`.
///
/// # Errors
/// Every fault with its line.
pub fn read_table(file: &str, bytes: &[u8]) -> Result<TableDefinition, Faults> {
    let text = records(file, bytes)?;
    let faults = refuse_line_breaks(file, &text, |name| name.starts_with('#'));
    if !faults.is_empty() {
        return Err(faults);
    }
    let cells = |record: &CsvRecord| record.iter().map(str::to_owned).collect();
    Ok(TableDefinition {
        columns: cells(&text.header),
        rows: text.rows.iter().map(cells).collect(),
    })
}

/// Places in a CSV text, for faults that are found in the body that was read from it.
#[derive(Debug)]
pub struct Places(CsvText);

impl Places {
    /// Reads a text; `None` where it has faults of its own.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        read_csv(bytes, &options()).ok().map(Self)
    }

    /// The place of `entries[N].KEY`, `rows[N].columns[KEY]`, `rows[N]` or `columns[KEY]`.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(u32, u32)> {
        let CsvText { header, rows } = &self.0;
        if let Some(name) = path.strip_prefix("columns[").and_then(|rest| rest.strip_suffix(']')) {
            return header.position(name).map(|column| header.place(column));
        }
        let (_, rest) = path.split_once('[')?;
        let (position, rest) = rest.split_once(']')?;
        let row = rows.get(position.parse::<usize>().ok()?)?;
        let key = [".columns[", ".qualifiers.", ".qualifiers[", "."]
            .into_iter()
            .find_map(|lead| rest.strip_prefix(lead))
            .map(|key| key.strip_suffix(']').unwrap_or(key));
        let column = key.and_then(|key| header.position(key));
        Some(row.place(column.unwrap_or(0)))
    }
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

    fn read_list(file: &str, bytes: &[u8]) -> Result<ListDefinition, Faults> {
        super::read_list(file, bytes, &mut Faults::new())
    }

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
        let check = |text: &str, path: &str, expected: Option<(u32, u32)>| {
            assert_eq!(Places::of(text.as_bytes()).unwrap().find(path), expected, "{path}");
        };
        check("a,b\n1,2\n3,4\n", "rows[1].columns[b]", Some((3, 3)));
        check("a,b\n1,2\n3,4\n", "rows[1]", Some((3, 1)));
        check("a,then.points\n1,2\n", "rows[0].columns[then.points]", Some((2, 3)));
        check("a,then.points\n1,2\n", "columns[then.points]", Some((1, 3)));
        check("value,aliases\n1,2\n", "entries[0].qualifiers.aliases", Some((2, 3)));
        check("value,aliases\n1,2\n", "entries[0].value", Some((2, 1)));
        check("value\n1\n", "entries[5].value", None);
    }

    #[test]
    fn columns_of_a_list_that_nothing_would_read_are_refused() {
        let check = |header: &str, column: u32, part: &str| {
            let cells = header.split(',').map(|_| "x").collect::<Vec<_>>().join(",");
            let faults = read_list("l.csv", format!("{header}\n{cells}\n").as_bytes()).unwrap_err();
            assert_eq!((faults[0].line, faults[0].column), (Some(1), Some(column)), "{header}");
            assert!(faults[0].message.contains(part), "{}", faults[0]);
        };
        check("value,alias", 7, "did you mean `aliases`?");
        check("value,Aliases", 7, "did you mean `aliases`?");
        check("value,Expires", 7, "did you mean `expires`?");
        check("value,expiry", 7, "did you mean `expires`?");
        check("value,Valid Until", 7, "did you mean `expires`?");
        check("value,countries", 7, "did you mean `country`?");
        check("Value", 1, "did you mean `value`?");
        check("value,value", 7, "twice");
        check("word,comment", 1, "must name a column `value`");
    }

    #[test]
    fn a_column_that_nothing_reads_is_a_finding() {
        let mut remarks = Faults::new();
        let list = super::read_list("l.csv", b"value,colour\nx,red\n", &mut remarks).unwrap();
        assert_eq!(list.entries[0].qualifiers["colour"], "red");
        assert_eq!((remarks[0].line, remarks[0].column), (Some(1), Some(7)), "{}", remarks[0]);
    }

    #[test]
    fn a_pair_of_open_quotes_swallows_no_entry() {
        let faults = read_list("l.csv", b"value\n\"Acme\nBolt\nCrag\"\nDune\n").unwrap_err();
        assert_eq!((faults[0].line, faults[0].column), (Some(2), Some(1)), "{}", faults[0]);
        let faults = read_table("t.csv", b"a,b,#\nx,\"1\ny\",2\n").unwrap_err();
        assert_eq!((faults[0].line, faults[0].column), (Some(2), Some(3)), "{}", faults[0]);
        assert!(read_table("t.csv", b"a,b,#\nx,1,\"two\nlines\"\n").is_ok());
    }
}
